package fault

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mode is what happens to one request.
type Mode string

// The modes. Those that answer early do so before they have read the body.
const (
	Pass Mode = "pass" // forwarded unharmed

	InternalError   Mode = "500"
	Unavailable     Mode = "503" // ServiceUnavailable
	SlowDown        Mode = "slowdown"
	TooManyRequests Mode = "429"
	AccessDenied    Mode = "denied"   // 403, early
	ExpiredToken    Mode = "expired"  // 400, early
	TimeTooSkewed   Mode = "skew"     // 403 with a Date that is off, early
	WrongRegion     Mode = "redirect" // 301 PermanentRedirect, early
	NoSuchBucket    Mode = "nobucket" // 404, early

	ResetBefore Mode = "reset"      // connection reset before the body is read
	ResetMiddle Mode = "reset-body" // connection reset after half of the body
	LostAnswer  Mode = "lost"       // forwarded, then connection reset
	Truncate    Mode = "truncate"   // half of the body read, not forwarded, and 200 with the ETag of that
	Lie         Mode = "lie"        // body read, not forwarded, and 200 with an ETag of nothing in particular
	Hang        Mode = "hang"       // body read, not forwarded, no answer until the client goes
	SlowBody    Mode = "slow"       // forwarded, the body in small pieces
)

// Faults are all modes that pass by themselves and end at once.
var Faults = []Mode{InternalError, Unavailable, SlowDown, TooManyRequests, ResetBefore, ResetMiddle, LostAnswer, Truncate, Lie}

// Modes are all modes there are.
var Modes = []Mode{Pass, InternalError, Unavailable, SlowDown, TooManyRequests, AccessDenied, ExpiredToken, TimeTooSkewed,
	WrongRegion, NoSuchBucket, ResetBefore, ResetMiddle, LostAnswer, Truncate, Lie, Hang, SlowBody}

// ParseModes reads a comma-separated list of modes; the empty text is no modes.
func ParseModes(text string) ([]Mode, error) {
	var modes []Mode
	for name := range strings.SplitSeq(text, ",") {
		mode := Mode(strings.TrimSpace(name))
		if mode == "" {
			continue
		}
		if !slices.Contains(Modes, mode) {
			return nil, fmt.Errorf("mode: want one of %q, got %q", Modes, mode)
		}
		modes = append(modes, mode)
	}
	return modes, nil
}

type refusal struct {
	status        int
	code, message string
	early         bool
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
var refusals = map[Mode]refusal{
	InternalError:   {500, "InternalError", "We encountered an internal error. Please try again.", false},
	Unavailable:     {503, "ServiceUnavailable", "Service is unable to handle request.", false},
	SlowDown:        {503, "SlowDown", "Please reduce your request rate.", false},
	TooManyRequests: {429, "TooManyRequests", "Too many requests.", false},
	AccessDenied:    {403, "AccessDenied", "Access Denied", true},
	ExpiredToken:    {400, "ExpiredToken", "The provided token has expired.", true},
	TimeTooSkewed:   {403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.", true},
	WrongRegion:     {301, "PermanentRedirect", "The bucket must be addressed using another endpoint.", true},
	NoSuchBucket:    {404, "NoSuchBucket", "The specified bucket does not exist", true},
}

func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, mode Mode) {
	is := refusals[mode]
	if !is.early {
		io.Copy(io.Discard, r.Body)
	}
	p.last(w)
	header := w.Header()
	header.Set("Content-Type", "application/xml")
	header.Set("X-Amz-Request-Id", "FAULT0123456789A")
	switch mode {
	case SlowDown, Unavailable, TooManyRequests:
		if seconds := int(p.options.RetryAfter.Seconds()); seconds > 0 {
			header.Set("Retry-After", strconv.Itoa(seconds))
		}
	case TimeTooSkewed:
		header.Set("Date", time.Now().Add(p.options.Skew).UTC().Format(http.TimeFormat))
	case WrongRegion:
		header.Set("X-Amz-Bucket-Region", p.options.Region)
	}
	w.WriteHeader(is.status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>FAULT0123456789A</RequestId></Error>",
		is.code, is.message)
}
