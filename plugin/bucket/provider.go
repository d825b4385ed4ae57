package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// credentialsError is what came of asking for credentials.
type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

// provider is who was asked.
type provider string

const (
	processProvider   provider = "credential_process"
	roleProvider      provider = "STS (AssumeRole)"
	webProvider       provider = "STS (AssumeRoleWithWebIdentity)"
	ssoProvider       provider = "SSO"
	containerProvider provider = "the container's credentials endpoint"
	metadataProvider  provider = "the instance metadata service"
	otherProvider     provider = "who hands out the credentials"
)

func (e credentialsError) provider() provider {
	var (
		process helperError
		op      *smithy.OperationError
		token   *ssocreds.InvalidTokenError
		text    = e.Error()
	)
	errors.As(e.error, &op)
	switch {
	case errors.As(e.error, &process):
		return processProvider
	case errors.As(e.error, &token), op != nil && strings.HasPrefix(op.ServiceID, "SSO"), strings.Contains(text, "SSO"):
		return ssoProvider
	case op != nil && op.OperationName == "AssumeRoleWithWebIdentity", strings.Contains(text, "failed to retrieve jwt"):
		return webProvider
	case op != nil && op.ServiceID == "STS":
		return roleProvider
	case op != nil && op.ServiceID == "ec2imds", strings.Contains(text, "EC2 IMDS"):
		return metadataProvider
	case strings.Contains(text, "failed to load credentials"):
		return containerProvider
	}
	return otherProvider
}

// answer is what a server said: its status (0 if it said nothing), code and message.
func (e credentialsError) answer() (status int, code, message string) {
	var (
		answer interface{ HTTPStatusCode() int } // of STS and SSO, or of the endpoint of a container
		api    smithy.APIError
		other  foreign
	)
	if errors.As(e.error, &other) {
		return other.status, "", ""
	}
	if errors.As(e.error, &answer) {
		status = answer.HTTPStatusCode()
	}
	if errors.As(e.error, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	return status, code, message
}

// credentialCauses are the rows for credentials, as causes are for S3's answers. The last fits any.
var credentialCauses = []cause{
	// An outage of who hands them out passes by itself, and is no reason to begin the chain anew, which would also forget how
	// far this machine's clock is off.
	{says: "signature expired", kind: ClockSkew, hint: "this machine's clock is off: set it (NTP)"},
	{says: "signature not yet current", kind: ClockSkew, hint: "this machine's clock is off: set it (NTP)"},
	{code: "Throttling", kind: Throttled}, {code: "ThrottlingException", kind: Throttled}, {code: "RequestLimitExceeded", kind: Throttled},
	{code: "TooManyRequestsException", kind: Throttled}, {code: "SlowDown", kind: Throttled},
	{status: 429, kind: Throttled},
	{status: 500, kind: Unavailable}, {status: 502, kind: Unavailable}, {status: 503, kind: Unavailable}, {status: 504, kind: Unavailable},

	{when: isForeign, kind: Credentials, hint: another}, {says: "did not contain credentials", kind: Credentials, hint: another},

	{from: processProvider, kind: Credentials, hint: "run the credential_process of the profile by hand, as Fluent Bit's user and with its environment"},
	{from: ssoProvider, kind: Credentials, hint: "the login has ended: aws sso login, as Fluent Bit's user; a service wants a role instead"},
	{from: webProvider, says: "no openidconnect provider", kind: Credentials, hint: "the account of {role} has no IAM OIDC provider for this cluster: make one"},
	{from: webProvider, says: "audience", kind: Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is for another audience (aud) than the IAM OIDC provider in the account of {role} has among its client ids"},
	{from: webProvider, code: "InvalidIdentityToken", kind: Credentials, hint: "the account of {role} does not know who issued the token of AWS_WEB_IDENTITY_TOKEN_FILE: check its IAM OIDC provider"},
	{from: webProvider, code: "ExpiredTokenException", kind: Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is too old: who renews that file?"},
	{from: webProvider, says: "expired", kind: Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is too old: who renews that file?"},
	{from: webProvider, says: "failed to retrieve jwt", kind: Credentials, hint: "AWS_WEB_IDENTITY_TOKEN_FILE cannot be read by Fluent Bit's user"},
	{from: webProvider, kind: Credentials, hint: "the trust policy of {role} has to allow sts:AssumeRoleWithWebIdentity for this cluster's OIDC provider and this service account (sub and aud)"},
	{code: "RegionDisabledException", kind: Credentials, hint: "STS is not active in that region for the account: its owner has to activate it, or set sts_endpoint to another region's"},
	{from: roleProvider, code: "InvalidClientTokenId", kind: Credentials, hint: renew},
	{from: roleProvider, code: "UnrecognizedClientException", kind: Credentials, hint: renew},
	{from: roleProvider, code: "ExpiredToken", kind: Credentials, hint: renew},
	{from: roleProvider, code: "ExpiredTokenException", kind: Credentials, hint: renew},
	{from: roleProvider, says: "signature", kind: Credentials, hint: "the secret key is not the access key's"},
	{from: roleProvider, kind: Credentials, hint: "check that these credentials may assume {role} (sts:AssumeRole, its trust policy, external_id)"},
	{from: containerProvider, status: 404, kind: Credentials, hint: "no role is tied to this container: an EKS Pod Identity association of its service account, or the task's role on ECS"},
	{from: containerProvider, kind: Credentials, hint: "check what the endpoint said: the association or the task's role, and the token file that goes with it"},
	{from: metadataProvider, kind: Credentials, hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or role_arn, or run where a role is attached; in a container, the instance's metadata service needs a hop limit of 2 (HttpPutResponseHopLimit)"},
	{kind: Credentials, hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or role_arn, or run where a role is attached"},
}

const another = "what answered is not {who}: check its address (sts_endpoint, endpoint URLs of environment and profile), and what stands between, such as a proxy or a login page"

func isForeign(f *fault) bool { return errors.As(f.Err, new(foreign)) }

// judge gives kind and hint. Who does not answer at all is unreachable, unless it is the last of the chain: then there are no
// credentials.
func (e credentialsError) judge(ctx context.Context, f *fault) (Kind, string) {
	from := e.provider()
	status, code, message := e.answer()
	if errors.As(e.error, new(proxyError)) {
		return Proxy, "the proxy of HTTPS_PROXY or HTTP_PROXY does not let requests to " + string(from) + " through: give it name and password in that URL, or except that host with NO_PROXY"
	}
	var send *smithyhttp.RequestSendError
	silent := status == 0 && errors.As(e.error, &send) && from != metadataProvider
	if from != processProvider && (ctx.Err() != nil || silent || errors.Is(e.error, errNobody)) {
		return Unreachable, "check that whoever hands out the credentials (STS, SSO, metadata service) can be reached from here"
	}
	asked := &fault{Error: &Error{Status: status, Code: code, Err: e}, from: from, text: strings.ToLower(message + " " + e.Error())}
	c := asked.first(credentialCauses)
	return c.kind, strings.NewReplacer("{role}", cmp.Or(f.opts.RoleARN, os.Getenv("AWS_ROLE_ARN"), "the role"), "{who}", string(from)).Replace(c.hint)
}

// said is who was asked, and what they answered: an agent answers errors in plain text.
func (e credentialsError) said() string {
	from := e.provider()
	status, code, message := e.answer()
	who := string(from)
	if from == containerProvider {
		if u, err := url.Parse(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")); err == nil && u.Host != "" {
			who += " " + u.Host
		} else {
			who += " 169.254.170.2"
		}
	}
	var other foreign
	switch {
	case errors.As(e.error, &other):
		return other.said(who)
	case from == metadataProvider:
		return tried(e.error)
	case from == processProvider, status == 0:
		return e.Error()
	case code == "" && message == "":
		return fmt.Sprintf("%s answered %d %s", who, status, http.StatusText(status))
	case code == "":
		return fmt.Sprintf("%s answered %d: %s", who, status, firstWords(message))
	}
	return fmt.Sprintf("%s answered %d %s: %s", who, status, code, message)
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
	if status, _, _ := (credentialsError{last}).answer(); status != 0 {
		add("%s answered %d %s", metadataProvider, status, http.StatusText(status))
	} else {
		add("%s: %v", metadataProvider, innermost(last))
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
