package bucket_test

import (
	"bufio"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/bucket"
)

// oneAnswer is a server each of whose connections gives one answer and is dead then, as die makes it.
func oneAnswer(t *testing.T, expects bool, die func(net.Conn)) (url string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if expects && r.Header.Get("Expect") != "" {
					_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				}
				sum := md5.New()
				_, _ = io.Copy(sum, r.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: \"%x\"\r\nContent-Length: 0\r\n\r\n", sum.Sum(nil))
				die(c)
				select { // never closed, until the test ends
				case <-t.Context().Done():
				case <-time.After(time.Minute):
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), connections
}

// deaf drops all that comes, without an acknowledgement, as a NAT does that has forgotten a connection.
func deaf(c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		panic(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	_ = raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
	if err != nil {
		panic(err)
	}
}

// mute takes all that comes, and says nothing.
func mute(c net.Conn) { go func() { _, _ = io.Copy(io.Discard, c) }() }

// With the time-outs as they are, four puts take 3.1 s, and 17 s where a large body goes to a server that does not know Expect.
// Without the one for a first sign of life, each of the three that meet a dead connection runs into the time-out of a stall:
// four puts of a small body took 95 s, of a large one 9 min 40 s.
func TestAConnectionThatWasKeptAndIsDeadCostsLittleAndOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		die  func(net.Conn)
		deaf bool // to Expect, which then costs a second each time
	}{
		{"nothing is acknowledged, of a small object", 1 << 10, deaf, false},
		{"nothing is acknowledged, of a large object", 5 << 20, deaf, false},
		{"nothing is answered, to a small object", 1 << 10, mute, false},
		{"nothing is answered, to a large object", 5 << 20, mute, false},
		{"nothing is answered, to a large object, by a server that does not know Expect", 5 << 20, mute, true},
		{"nothing is read, of a large object", 5 << 20, func(net.Conn) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			bucket.SetAliveTimeout(t, 300*time.Millisecond)
			url, connections := oneAnswer(t, !tt.deaf, tt.die)
			b := open(t, bucket.Options{Endpoint: url})
			began := time.Now()
			for range 4 {
				if err := put(b, t.Context(), strings.Repeat("x", tt.size)); err != nil {
					t.Fatalf("after %s: %v", time.Since(began), err)
				}
			}
			if took := time.Since(began); took > 20*time.Second || connections.Load() != 4 {
				t.Errorf("%s and %d connections for four puts, want much less than the 30s of an attempt that stalls, and one connection each", took, connections.Load())
			}
		})
	}
}

func TestAConnectionThatIsKeptAndAliveIsUsedAgain(t *testing.T) {
	environment(t)
	var connections atomic.Int64
	s := newStore(t, nil, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		s.Start()
	})
	b := open(t, bucket.Options{Endpoint: s.URL})
	for range 4 {
		if err := put(b, t.Context(), strings.Repeat("x", 200<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for four puts, want one", n)
	}
}

func TestWhatElseIsAskedOverADeadConnectionIsAskedAgain(t *testing.T) {
	for name, ask := range map[string]func(*bucket.Bucket) error{
		"the probe": func(b *bucket.Bucket) error { return b.Probe(t.Context(), "ingest/p.gz") },
		"a report":  func(b *bucket.Bucket) error { _, err := b.Get(t.Context(), "f/1", 10); return err },
	} {
		t.Run(name, func(t *testing.T) {
			environment(t)
			bucket.SetAliveTimeout(t, 300*time.Millisecond)
			url, connections := oneAnswer(t, true, mute)
			b := open(t, bucket.Options{Endpoint: url})
			if err := put(b, t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := ask(b); err != nil || connections.Load() != 2 || time.Since(began) > 20*time.Second {
				t.Errorf("got %v after %s over %d connections", err, time.Since(began), connections.Load())
			}
		})
	}
}
