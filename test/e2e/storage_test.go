package e2e

import (
	"fmt"
	"testing"

	"out_amberflo/test/logbook"
)

func TestChunksThatWaitInMemoryAreToldOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, storage, processors string
		want                      int
	}{
		{"by default", "", "", 1},
		{"with filesystem storage", "storage.type: filesystem", "", 0},
		{"with a processor under the output", "storage.type: filesystem", "processors: {logs: [{name: content_modifier, action: upsert, key: id, value: x}]}", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			conf := fmt.Sprintf("service: {flush: 0.2, storage.path: %q}\npipeline:\n  inputs:\n    - name: dummy\n      tag: app\n      rate: 20\n      dummy: '{\"customerId\":\"a\",\"meterApiName\":\"m\",\"meterValue\":1}'\n      %s\n"+
				"  outputs:\n    - name: amberflo\n      match: '*'\n      bucket: %s\n      region: %s\n      endpoint: %s\n      store_dir: %s\n      upload_timeout: 1s\n      workers: 2\n      %s\n",
				b.path("fluent-bit"), test.storage, b.server.Bucket, b.server.Region, b.endpoint, b.path("spool"), test.processors)
			p := b.execute("log", nil, fluentBit, "-e", b.plugin, "-c", b.write("conf.yaml", []byte(conf)))
			p.await("the first object is in the bucket")
			log := p.stop()
			if n := logbook.Count(log, "[ warn]", "chunks wait in memory", "tag=app"); n != test.want {
				t.Errorf("told %d times, want %d:\n%s", n, test.want, log)
			}
		})
	}
}

// With storage.inherit, what writes no storage.type, as FireLens does, is on disk too.
func TestTheServiceCanSayForAllInputsThatChunksAreStored(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	b.service = []string{"storage.path " + b.path("fluent-bit"), "storage.type filesystem", "storage.inherit on"}
	b.inputs = []string{"Name dummy", "Tag app", `Dummy {"customerId":"a","meterApiName":"m","meterValue":1}`}
	p := b.start(input{}, b.section("upload_timeout 1s"))
	p.await("the first object is in the bucket")
	if log := p.stop(); logbook.Count(log, "chunks wait in memory") > 0 {
		t.Errorf("want the chunks on disk:\n%s", log)
	}
}
