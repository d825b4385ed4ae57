// Package failure says what of a failed upload is acted on: by package ship, which repeats it, and by package report. Whoever
// makes the attempts puts an [Error] into what it returns.
package failure

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// Kind is what went wrong, as far as a caller acts on it.
type Kind uint8

// The kinds. None of them proves that nothing was stored.
const (
	Object      Kind = iota // S3 does not take this one object: any 4xx that is none of the below
	Unreachable             // no answer: name, network, TLS, reset, time-out
	Unavailable             // 5xx, and 4xx that pass by themselves
	Throttled               // 429, SlowDown
	Denied                  // 403: the credentials are good, the permission is missing
	Credentials             // none found, expired, or not the ones S3 knows
	ClockSkew               // this machine's clock is off by more than S3 tolerates; the next request corrects for it
	NoBucket                // 404
	WrongRegion             // the bucket is in another region
	Quota                   // there is no space left in the bucket
	Proxy                   // a proxy between here and S3 does not let it through
	Unproven                // an answer that all is well, without proof that S3 holds the object
	Unreadable              // the body could not be read: nothing to do with S3
	Canceled                // the caller's context was canceled
)

var names = [...]string{"object", "unreachable", "unavailable", "throttled", "denied", "credentials",
	"clock_skew", "no_bucket", "wrong_region", "quota", "proxy", "unproven", "unreadable", "canceled"}

// String is one word for logs and metric labels.
func (k Kind) String() string { return names[k] }

// Names are those of all kinds that are counted, in their order.
func Names() []string { return names[:Canceled] }

// NeedsYou tells whether somebody has to do something: it does not pass by itself.
func (k Kind) NeedsYou() bool {
	return k != Unreachable && k != Unavailable && k != Throttled && k != Canceled
}

// ConcernsAll tells whether the next object would meet the same, so that trying it now is pointless.
func (k Kind) ConcernsAll() bool {
	return k != Object && k != Unreadable && k != Canceled
}

// Error is the part of an error that is acted on; find it with [errors.As].
type Error struct {
	Kind       Kind
	Code       string        // the server's own word, e.g. AccessDenied; may be empty
	RetryAfter time.Duration // as the server asked; 0 if it did not
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrStalled is in the error of an attempt that was given up because nothing moved any more.
var ErrStalled = errors.New("nothing moved any more")

// ErrNoAnswer is in the error of such an attempt that had all gone out.
var ErrNoAnswer = errors.New("after all of it had gone out: no answer")

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
