package bucket_test

import (
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

func TestWithoutFileDescriptorsTheHintIsToRaiseThem(t *testing.T) {
	environment(t)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 1, Max: was.Max}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none)
	put := put(b, t.Context(), "x")
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)); err != nil {
		t.Fatal(err)
	}
	if e := failed(t, put); e.Kind != failure.Unreachable || !strings.Contains(e.Hint, "LimitNOFILE") || strings.Contains(e.Hint, "reached") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
	if !failure.OutOfFiles(&net.DNSError{Err: "dial udp 127.0.0.53:53: socket: too many open files", Name: "s3.local"}) {
		t.Error("a look-up that lacked one is not known by its words")
	}
}
