// Package cause says whose fault an answer is. What holds:
//
//   - a table is the specification: the first row that fits an answer (status, code, words, provider, configuration) gives its
//     [failure.Kind], which callers act on, and the hint, which an operator acts on;
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
	"out_amberflo/plugin/ship/failure"
)

// Error is what came of one request. It holds no secret.
type Error struct {
	Kind       failure.Kind
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

// As gives callers the part that they act on.
func (e *Error) As(target any) bool {
	f, ok := target.(**failure.Error)
	if ok {
		*f = &failure.Error{Kind: e.Kind, Code: e.Code, RetryAfter: e.RetryAfter, Err: e}
	}
	return ok
}

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
