package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"out_amberflo/test/logbook"
)

func TestEveryWrongOptionIsNamedInOneErrorAtStart(t *testing.T) {
	wrong := []struct{ key, value, want, example string }{
		{"bucket", "", "the name of the bucket", "183-amberflo"},
		{"region", "", "the bucket's region", "us-west-2"},
		{"endpoint", "127.0.0.1:9000", "a URL that begins with http:// or https://", "https://"},
		{"force_path_style", "perhaps", "on or off", "on"},
		{"canned_acl", "mine", "none or a canned ACL of S3", "bucket-owner-full-control"},
		{"compression", "lzma", "gzip or none", "gzip"},
		{"compression_level", "11", "a number from 1 (fast) to 9 (small)", "6"},
		{"s3_key_format", "logs/%Y/$TAG.gz", "only $UUID and $HASH", "ingest/amberdata/%m-%d-%Y/$UUID.gz"},
		{"startup_check", "maybe", "probe or put or off", "probe"},
		{"format", "xml", "ndjson or json_array", "ndjson"},
		{"total_file_size", "many", "a size such as", "50M"},
		{"max_records", "-1", "a whole number from 0 to 2147483647", "1000"},
		{"upload_timeout", "30", "a duration such as 30s or 5m", "1m"},
		{"upload_concurrency", "0", "a whole number from 1 to 64", "2"},
		{"store_dir_limit_size", "0", "a size such as", "10G"},
		{"shutdown_timeout", "never", "a duration such as", "10s"},
		{"customer_id", "$", "a key after the $", "$tenant"},
		{"meter_value", "12abc", "a number, an accessor such as $bytes, or a function", "$bytes"},
		{"meter_time_format", "noon", "auto, unix", "%d/%b/%Y"},
		{"dimensions", "a=,b", "a value", "region"},
		{"unmatched", "drop", "reject, ignore, ignore_any or ignore_all", "ignore"},
	}
	both(t, func(t *testing.T, b *bench) {
		b.env = []string{"AWS_REGION="}
		var section []string
		for _, w := range wrong {
			section = append(section, strings.TrimSpace(w.key+" "+w.value))
		}
		p := b.start(oneRecord, b.section(section...))
		log := p.notStarted()
		b.wantLog(log, "[error] [output:amberflo:amberflo.0]", fmt.Sprintf("not started: %d options are wrong", len(wrong)))
		for _, w := range wrong {
			got := "got nothing"
			if w.value != "" {
				got = "got "
			}
			if n := logbook.Count(log, " "+w.key+": want ", w.want, got, "for example: "+w.key+" ", w.example); n != 1 {
				t.Errorf("%d lines about %s %q, want 1 with want, got and example; log:\n%s", n, w.key, w.value, log)
			}
		}
		b.wantNoSecret(log)
		if _, err := os.Stat(b.path("spool")); !os.IsNotExist(err) {
			t.Errorf("store_dir was made: %v", err)
		}
	})
}

func TestOneWrongOptionIsOneLine(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(oneRecord, b.section("upload_timeout 30"))
		log := p.notStarted()
		b.wantLog(log, `upload_timeout: want a duration such as 30s or 5m, got "30", for example: upload_timeout 1m`)
		if n := logbook.Count(log, "[output:amberflo:amberflo.0]"); n != 1 {
			t.Errorf("%d lines, want 1:\n%s", n, log)
		}
	})
}

func TestAPasswordInAnEndpointIsNotLogged(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(oneRecord, b.section("endpoint http://user:hunter22@127.0.0.1:9"))
		log := p.notStarted()
		b.wantLog(log, "endpoint: want a URL without credentials in it")
		if strings.Contains(log, "hunter22") {
			t.Errorf("the password is in the log:\n%s", log)
		}
	})
}

func TestOutputsThatShareAStoreDirMustDeliverAlike(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(oneRecord, b.section(), b.section("total_file_size 1M"))
		b.wantLog(p.notStarted(), "[output:amberflo:amberflo.1]", "store_dir: want a directory of its own", "total_file_size", b.path("spool"))
	})
}

func TestAStoreDirThatIsMissingIsMade(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.run(oneRecord, b.section("store_dir "+b.path("not", "there", "yet")))
		b.one(b.objects())
		if st, err := os.Stat(b.path("not", "there", "yet")); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("store_dir: %v, %v; want a directory for the owner alone", st, err)
		}
	})
}

func TestAStoreDirThatCannotBeUsedIsAClearErrorAtStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(b *bench) (dir string, words []string)
	}{
		{"below a file", func(b *bench) (string, []string) {
			return b.write("file", nil) + "/spool", []string{"store_dir: want a directory that can be written", "not a directory"}
		}},
		{"not writable", func(b *bench) (string, []string) {
			if os.Geteuid() == 0 {
				b.Skip("root may write everywhere")
			}
			if err := os.Mkdir(b.path("closed"), 0o500); err != nil {
				b.Fatal(err)
			}
			return b.path("closed"), []string{"store_dir: want a directory that can be written", "permission denied"}
		}},
		{"writable by others", func(b *bench) (string, []string) {
			if err := os.Mkdir(b.path("shared"), 0o700); err != nil {
				b.Fatal(err)
			}
			if err := os.Chmod(b.path("shared"), 0o777); err != nil { // whatever the umask is
				b.Fatal(err)
			}
			return b.path("shared"), []string{"store_dir: want a directory that only Fluent Bit's user", "got " + b.path("shared") + " with the mode 0777",
				"chmod -R go-w", "or set another store_dir"}
		}},
		{"held by another process", func(b *bench) (string, []string) {
			p := b.start(input{}, b.section("store_dir "+b.path("held")))
			p.await("started", "bucket=")
			return b.path("held"), []string{"store_dir " + b.path("held") + " is in use by process " + fmt.Sprint(p.Cmd.Process.Pid),
				"stop that one or set another store_dir"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				dir, words := test.spoil(b)
				p := b.start(oneRecord, b.section("store_dir "+dir))
				log := p.notStarted()
				b.wantLog(log, append(words, "[error] [output:amberflo:amberflo.0]")...)
				if n := logbook.Count(log, "[output:amberflo:amberflo.0]"); n != 1 {
					t.Errorf("%d lines, want 1:\n%s", n, log)
				}
			})
		})
	}
}

func TestInDaemonModeItSaysSoInsteadOfHanging(t *testing.T) {
	t.Parallel()
	b := newBench(t, bundledHost)
	b.args = []string{"--daemon"}
	p := b.start(oneRecord, b.section())
	if code := p.wait(); code != 1 {
		t.Errorf("exit status %d, want it not to start", code)
	}
	b.wantLog(p.Log.String(), "[error] [output:amberflo]", "not started: want Fluent Bit in the foreground", "set Daemon Off")
}
