package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// answerMax is how much of an answer is read, of S3 and of whoever hands out credentials. The longest that they give is a page
// of a listing, 1,000 keys of 1 KB at most.
const answerMax = 4 << 20

// errTooLong is an answer that goes on, as that of a download or of a broken gateway. The SDK would hold all of it in memory.
var errTooLong = fmt.Errorf("its answer goes on after %d MiB", answerMax>>20)

// answer is the body of an answer.
type answer struct {
	io.ReadCloser
	left  int
	words []byte // its first
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, errTooLong
	}
	n, err := a.ReadCloser.Read(p[:min(len(p), a.left)])
	a.left -= n
	a.words = append(a.words, p[:min(n, 200-len(a.words))]...)
	return n, err
}

// bounded makes all that is read of an answer end after answerMax bytes.
func bounded(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Bounded",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if r, ok := out.RawResponse.(*smithyhttp.Response); ok && r.Response != nil && r.Body != nil {
				r.Body = &answer{ReadCloser: r.Body, left: answerMax}
			}
			return out, metadata, err
		}), middleware.After)
}

// foreign is an answer that is not in the words of the one who was asked.
type foreign struct {
	error
	host   string
	status int
	words  string
}

func (e foreign) Unwrap() error { return e.error }

// quoted says who gave an answer that cannot be read, and its first words if it is a page: others may hold a secret.
func quoted(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Quoted",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			r, ok := out.RawResponse.(*smithyhttp.Response)
			if unread := (*smithy.DeserializationError)(nil); !ok || !errors.As(err, &unread) {
				return out, metadata, err
			}
			f := foreign{error: err, status: r.StatusCode}
			if request, ok := in.Request.(*smithyhttp.Request); ok {
				f.host = request.URL.Host
			}
			if a, ok := r.Body.(*answer); ok && strings.HasPrefix(strings.TrimSpace(string(a.words)), "<") {
				f.words = firstWords(string(a.words))
			}
			return out, metadata, f
		}), middleware.Before)
}
