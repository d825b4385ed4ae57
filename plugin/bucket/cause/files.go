package cause

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// RaiseFiles is what helps a process that may open no more files, and so no connections.
const RaiseFiles = "raise how many files Fluent Bit may open: ulimit -n, or LimitNOFILE of its systemd unit"

// OutOfFiles tells if an error comes of that.
func OutOfFiles(err error) bool {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return true
	}
	var lookup *net.DNSError // which keeps only the words
	return errors.As(err, &lookup) && strings.Contains(lookup.Err, syscall.EMFILE.Error())
}
