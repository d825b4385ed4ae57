package e2e

import (
	"bytes"
	"os"
	"testing"

	"out_amberflo/plugin/repair"
)

// changed changes a file of the spool as a disk may do, and as an editor does: the file is another one afterwards.
func (b *bench) changed(f repair.File, change func([]byte) []byte) {
	b.Helper()
	path := b.path("spool", f.Path)
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".new", change(bytes.Clone(content)), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// waiting are the files of the objects in the outbox.
func (b *bench) waiting() (files []repair.File) {
	b.Helper()
	all, err := repair.Files(b.path("spool"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range all {
		if f.Dir == "outbox" {
			files = append(files, f)
		}
	}
	return files
}

func TestWhatTheDiskHasChangedIsNotBilledAndTheRestIs(t *testing.T) {
	for name, tt := range map[string]struct {
		section []string
		change  func([]byte) []byte
	}{
		"a byte of a compressed object": {nil, func(c []byte) []byte { c[len(c)/2] ^= 4; return c }},
		"the end of an object":          {nil, func(c []byte) []byte { return c[:len(c)/2] }},
		"a digit of an object that is not compressed": {uncompressed, func(c []byte) []byte {
			return bytes.Replace(c, []byte(`"meterValue":7`), []byte(`"meterValue":9`), 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				section := append([]string{"max_records 10", "failure_reports off", "shutdown_timeout 1s"}, tt.section...)
				endpoint := b.endpoint
				b.endpoint = "http://127.0.0.1:1"
				p := b.start(counted(30, 10), b.section(section...))
				b.until("three objects to wait", func() bool { return len(b.spool("outbox")) == 3 })
				p.stop()
				damaged := b.waiting()[0]
				for _, f := range b.waiting() {
					if _, _, err := repair.Records(b.path("spool"), f, func(line []byte) error {
						if bytes.Contains(line, []byte(`"meterValue":7,`)) {
							damaged = f
						}
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
				b.changed(damaged, tt.change)
				b.endpoint = endpoint
				p = b.start(input{}, b.section(section...))
				b.arrived(2)
				p.await("the disk has damaged an object: it is not sent, and kept in damaged/outbox/", "key="+damaged.Key())
				p.stop()
				if _, there := b.objects()[damaged.Key()]; there || len(b.objects()) != 2 {
					t.Errorf("in the bucket: %q", names(b.objects()))
				}
				if len(b.spool("outbox")) != 0 || len(b.spool("damaged")) != 1 {
					t.Errorf("outbox/: %q, damaged/: %q", names(b.spool("outbox")), names(b.spool("damaged")))
				}
			})
		})
	}
}

func TestAnEndpointThatNamesTheBucketIsRefused(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(oneRecord, b.section("endpoint "+b.endpoint+"/"+b.server.Bucket))
		b.wantLog(p.notStarted(), "endpoint: want a URL without the bucket's name", "for example: endpoint "+b.endpoint)
	})
}

func TestAnEndpointOfTheEnvironmentIsSaid(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.env = []string{"AWS_ENDPOINT_URL=" + b.endpoint}
		p := b.start(oneRecord, b.section("endpoint", "upload_timeout 100ms"))
		p.await("started", "endpoint="+b.endpoint)
		b.arrived(1)
		p.stop()
	})
}
