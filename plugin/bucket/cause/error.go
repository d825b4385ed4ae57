// Package cause says whose fault an answer is. What holds:
//
//   - a table is the specification: the first row that fits an answer (status, code, words, provider, configuration) gives its
//     [Kind], which callers act on, and the hint, which an operator acts on;
//   - a kind that passes by itself asks nobody for anything, and each that does not says what to do and with which resource;
//   - an [Error] is one line, holds no secret, and keeps the end of what S3 said, which names the policy at fault;
//   - no error proves that nothing was stored.
package cause

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"out_amberflo/plugin/bucket/creds"
	"out_amberflo/plugin/bucket/wire"
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

var kindNames = [...]string{"object", "unreachable", "unavailable", "throttled", "denied", "credentials",
	"clock_skew", "no_bucket", "wrong_region", "quota", "proxy", "unproven", "unreadable", "canceled"}

// String is one word for logs and metric labels.
func (k Kind) String() string { return kindNames[k] }

// NeedsYou tells whether somebody has to do something: it does not pass by itself.
func (k Kind) NeedsYou() bool {
	return k != Unreachable && k != Unavailable && k != Throttled && k != Canceled
}

// ConcernsAll tells whether the next object would meet the same, so that trying it now is pointless.
func (k Kind) ConcernsAll() bool {
	return k != Object && k != Unreadable && k != Canceled
}

// Error is what came of one request. It holds no secret.
type Error struct {
	Kind       Kind
	Op         string // put, probe, list or get
	Bucket     string
	Key        string        // of list: the prefix
	Endpoint   string        // in effect
	Status     int           // of HTTP; 0 if there was no answer
	Code       string        // S3's, e.g. AccessDenied; may be empty
	RequestID  string        // S3's, for its support; may be empty
	RetryAfter time.Duration // as the server asked; 0 if it did not
	Hint       string        // what an operator can do; may be empty
	Err        error
}

// Error is one line: what was wanted, what the answer was, what to do.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s s3://%s/%s: ", e.Op, e.Bucket, e.Key)
	switch {
	case e.Status == 0:
		s.WriteString(e.Kind.String())
	case e.Code == "":
		fmt.Fprintf(&s, "%s (%d)", e.Kind, e.Status)
	default:
		fmt.Fprintf(&s, "%s (%d)", wire.Printable(e.Code), e.Status)
	}
	s.WriteString(": " + e.said())
	s.WriteString(" [")
	if e.RequestID != "" {
		s.WriteString("request " + wire.Printable(e.RequestID) + ", ")
	}
	s.WriteString("endpoint " + e.Endpoint + "]")
	if e.Hint != "" {
		s.WriteString("; " + e.Hint)
	}
	return s.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// How many bytes of what was said are said again.
const (
	saidMax        = 300
	credentialsMax = 700 // each source that was tried
)

// shortened cuts a long string in its middle: what S3 says begins with who may not do what, and ends with whose policy it is.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	head, tail := most/3, len(text)-(most-most/3)
	for !utf8.RuneStart(text[head]) {
		head--
	}
	for !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + " … " + text[tail:]
}

// said is the useful part of Err in one line: the SDK wraps it in up to six layers that repeat what Error says.
func (e *Error) said() string {
	var (
		api      smithy.APIError
		send     *smithyhttp.RequestSendError
		canceled *smithy.CanceledError
		asked    creds.Error
		body     Unread
		text     string
	)
	isAPI, most := errors.As(e.Err, &api), saidMax
	switch {
	case errors.As(e.Err, &asked):
		text, most = asked.Said(), credentialsMax
	case errors.As(e.Err, &body):
		text = body.Error()
	case isAPI && api.ErrorMessage() != "":
		text = api.ErrorMessage()
	case e.Status >= 300 && errors.Is(e.Err, wire.ErrTooLong):
		text = http.StatusText(e.Status) + ", in words that are not S3's: " + wire.ErrTooLong.Error()
	case errors.Is(e.Err, wire.ErrTooLong):
		text = "all is well, says " + e.Endpoint + ", and is not S3: " + wire.ErrTooLong.Error()
	case e.Status >= 300 && CutOff(e.Err):
		text = http.StatusText(e.Status) + ", and then the connection broke or no more came: the next answer may say why"
	case e.Status != 0:
		text = http.StatusText(e.Status) + ", in words that are not S3's"
	case errors.As(e.Err, &canceled):
		text = canceled.Err.Error()
	case errors.As(e.Err, &send):
		text = send.Err.Error()
	default:
		text = e.Err.Error()
	}
	return shortened(wire.WithoutQueries(wire.Printable(text)), most)
}
