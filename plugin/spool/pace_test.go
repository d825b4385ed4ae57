package spool_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
)

// As in packages journal and object.
const (
	pause     = 300 * time.Microsecond
	paceBytes = 64 << 10
	flushing  = 20 * time.Millisecond
)

// In a bubble of synctest only sleeping takes time.
func TestBackgroundPausesByTheBytesItHandlesWhileChunksComeIn(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for what, test := range map[string]struct {
		chunks, size int // of random text
		level, most  int // bytes of lines in an object
		pauses       int // at least, and twice as many at most
	}{
		"many small chunks":     {3000, 20, 1, 1 << 30, 2},
		"segments":              {20, 200_000, 1, 1 << 30, 20},
		"lines as they are":     {20, 200_000, 0, 1 << 30, 20},
		"compressed at the end": {200, 20_000, 1, 1 << 30, 40},
		"a backlog":             {60, 100_000, 0, 1 << 20, 15}, // in the last two of six logs
	} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, busy %v", what, busy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := testOptions(disktest.MemoryDir(t))
					o.MaxBytes, o.Limit, o.Object.GzipLevel, o.MinBlock = int64(test.most), 0, test.level, 0
					s := openUnsynced(t, o)
					total := 0
					for i := range test.chunks {
						text := make([]byte, test.size/2)
						_, _ = random.Read(text)
						b := begun(t, s, uint64(i), fmt.Sprintf("%x", text))
						total += len(b.Lines())
						mustAppend(t, s, b)
					}
					if busy {
						done := make(chan struct{})
						defer close(done)
						go func() { // flushes that begin and are never through
							for {
								select {
								case <-done:
									return
								case <-time.After(flushing / 2):
									_, _ = s.Begin(journal.Source{}, 1)
								}
							}
						}()
					} else {
						time.Sleep(time.Second)
					}
					synctest.Wait()
					check := func(doing string, atLeast int, do func() error) {
						began := time.Now()
						if err := do(); err != nil {
							t.Fatal(err)
						}
						n := int(time.Since(began) / pause)
						if !busy && n > 0 || busy && (n < atLeast || n > 2*max(atLeast, 1)) {
							t.Errorf("%s %d bytes of lines took %d pauses, want %d to %d if there are flushes, else none", doing, total, n, atLeast, 2*atLeast)
						}
					}
					check("sealing", test.pauses, func() error { return s.SealNow(t.Context()) })
					obj, err := s.Take(t.Context(), false)
					if err != nil {
						t.Fatal(err)
					}
					check("reading", int(obj.Size/paceBytes)*2/3, func() error {
						f, err := s.Read(obj)
						if err != nil {
							return err
						}
						defer f.Close()
						_, err = io.Copy(io.Discard, f)
						return err
					})
					crashed(t, s)
				})
			})
		}
	}
}
