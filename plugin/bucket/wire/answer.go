package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// answerMax is how much of an answer is read, of S3 and of whoever hands out credentials. The longest that they give is a page
// of a listing, 1,000 keys of 1 KB at most.
const answerMax = 4 << 20

// ErrTooLong is an answer that goes on, as that of a download or of a broken gateway. The SDK would hold all of it in memory.
var ErrTooLong = fmt.Errorf("its answer goes on after %d MiB", answerMax>>20)

// answer is the body of an answer.
type answer struct {
	io.ReadCloser
	left   int
	words  []byte // its first
	broke  error  // before its end
	closed bool
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, ErrTooLong
	}
	n, err := a.ReadCloser.Read(p[:min(len(p), a.left)])
	a.left -= n
	a.words = append(a.words, p[:min(n, 200-len(a.words))]...)
	if err != nil && err != io.EOF && !a.closed {
		a.broke = err
	}
	return n, err
}

func (a *answer) Close() error {
	a.closed = true
	return a.ReadCloser.Close()
}

// Bounded makes all that is read of an answer end after answerMax bytes.
func Bounded(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Bounded",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if r, ok := out.RawResponse.(*smithyhttp.Response); ok && r.Response != nil && r.Body != nil {
				r.Body = &answer{ReadCloser: r.Body, left: answerMax}
			}
			return out, metadata, err
		}), middleware.After)
}

// Foreign is an answer that is not in the words of the one who was asked.
type Foreign struct {
	error
	Host   string
	Status int
	Words  string // its first, if it is a page
}

func (e Foreign) Unwrap() error { return e.error }

// Said is what answered in the place of who.
func (e Foreign) Said(who string) string {
	text := fmt.Sprintf("%s answered %d %s, in words that are not its own", strings.TrimSuffix(who, " "+e.Host)+" "+e.Host, e.Status, http.StatusText(e.Status))
	if e.Words != "" {
		text += ": " + e.Words
	}
	if errors.Is(e, ErrTooLong) {
		text += "; " + ErrTooLong.Error()
	}
	return text
}

// Quoted says who gave an answer that cannot be read, and its first words if it is a page: others may hold a secret. One that
// broke off is none.
func Quoted(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Quoted",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			r, ok := out.RawResponse.(*smithyhttp.Response)
			if !ok || r.StatusCode == 0 || err == nil || awsmiddleware.GetServiceID(ctx) == "ec2imds" { // whose errors are plain text
				return out, metadata, err
			}
			api := smithy.APIError(nil)
			a, ok := r.Body.(*answer)
			switch own := errors.As(err, &api) && api.ErrorCode() != "UnknownError"; {
			case own || !ok:
				return out, metadata, err
			case a.broke != nil:
				return out, metadata, &smithyhttp.RequestSendError{Err: a.broke}
			}
			f := Foreign{error: err, Status: r.StatusCode}
			if request, ok := in.Request.(*smithyhttp.Request); ok {
				f.Host = request.URL.Host
			}
			if page := strings.TrimSpace(string(a.words)); strings.HasPrefix(page, "<") {
				f.Words = FirstWords(page)
			}
			return out, metadata, f
		}), middleware.Before)
}

// Unsigned leaves out of a request what S3 has no use for and proxies like to change, so that its signature does not cover
// it.
func Unsigned(stack *middleware.Stack) error {
	const signing = "Signing"
	if _, signs := stack.Finalize.Get(signing); !signs {
		return nil
	}
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Unsigned",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok {
				for _, name := range []string{"Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"} {
					r.Header.Del(name)
				}
			}
			return next.HandleFinalize(ctx, in)
		}), signing, middleware.Before)
}
