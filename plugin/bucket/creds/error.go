package creds

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"out_amberflo/plugin/bucket/wire"
)

// Error is what came of asking for credentials.
type Error struct{ error }

// Unwrap returns the cause.
func (e Error) Unwrap() error { return e.error }

// Provider is who was asked.
type Provider string

// The providers.
const (
	Process     Provider = "credential_process"
	Role        Provider = "STS (AssumeRole)"
	WebIdentity Provider = "STS (AssumeRoleWithWebIdentity)"
	SSO         Provider = "SSO"
	Container   Provider = "the container's credentials endpoint"
	Metadata    Provider = "the instance metadata service"
	Other       Provider = "who hands out the credentials"
)

// Provider tells who it was.
func (e Error) Provider() Provider {
	var (
		process helperError
		op      *smithy.OperationError
		token   *ssocreds.InvalidTokenError
		text    = e.Error()
	)
	errors.As(e.error, &op)
	switch {
	case errors.As(e.error, &process):
		return Process
	case errors.As(e.error, &token), op != nil && strings.HasPrefix(op.ServiceID, "SSO"), strings.Contains(text, "SSO"):
		return SSO
	case op != nil && op.OperationName == "AssumeRoleWithWebIdentity", strings.Contains(text, "failed to retrieve jwt"):
		return WebIdentity
	case op != nil && op.ServiceID == "STS":
		return Role
	case op != nil && op.ServiceID == "ec2imds", strings.Contains(text, "EC2 IMDS"):
		return Metadata
	case strings.Contains(text, "failed to load credentials"):
		return Container
	}
	return Other
}

// Answer is what a server said: its status (0 if it said nothing), code and message.
func (e Error) Answer() (status int, code, message string) {
	var (
		answer interface{ HTTPStatusCode() int } // of STS and SSO, or of the endpoint of a container
		api    smithy.APIError
		other  wire.Foreign
	)
	if errors.As(e.error, &other) {
		return other.Status, "", ""
	}
	if errors.As(e.error, &answer) {
		status = answer.HTTPStatusCode()
	}
	if errors.As(e.error, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	return status, code, message
}

// Said is who was asked, and what they answered: an agent answers errors in plain text.
func (e Error) Said() string {
	from := e.Provider()
	status, code, message := e.Answer()
	who := string(from)
	if from == Container {
		if u, err := url.Parse(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")); err == nil && u.Host != "" {
			who += " " + u.Host
		} else {
			who += " 169.254.170.2"
		}
	}
	var other wire.Foreign
	switch {
	case errors.As(e.error, &other):
		return other.Said(who)
	case from == Metadata:
		return tried(e.error)
	case from == Process, status == 0:
		return e.Error()
	case code == "" && message == "":
		return fmt.Sprintf("%s answered %d %s", who, status, http.StatusText(status))
	case code == "":
		return fmt.Sprintf("%s answered %d: %s", who, status, wire.FirstWords(message))
	}
	return fmt.Sprintf("%s answered %d %s: %s", who, status, code, message)
}

// Silent tells if nobody has answered.
func (e Error) Silent() bool {
	var send *smithyhttp.RequestSendError
	status, _, _ := e.Answer()
	return errors.Is(e, errNobody) || status == 0 && errors.As(e.error, &send) && e.Provider() != Metadata
}

// tried names each source of credentials, in the order of the SDK's chain, and why it gave none.
func tried(last error) string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if os.Getenv(name) == "" {
			add("%s is not set", name)
			break
		}
	}
	for _, name := range []string{credentialsFile(), configFile()} {
		f, err := os.Open(name)
		if err != nil {
			add("%v", err)
			continue
		}
		_ = f.Close()
		add("%s has no credentials for the profile", name)
	}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") == "" && os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") == "" && os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") == "" {
		add("no web identity and no container role in the environment")
	}
	if status, _, _ := (Error{last}).Answer(); status != 0 {
		add("%s answered %d %s", Metadata, status, http.StatusText(status))
	} else {
		add("%s: %v", Metadata, innermost(last))
	}
	return "no credentials found: " + strings.Join(all, "; ")
}

// innermost is the cause below the SDK's layers.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
