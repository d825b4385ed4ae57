package cause

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"out_amberflo/plugin/bucket/creds"
	"out_amberflo/plugin/bucket/wire"
	"out_amberflo/plugin/ship/failure"
)

// credentialRows are those for credentials, as s3Rows are for S3's answers. The last fits any.
var credentialRows = []row{
	// An outage of who hands them out passes by itself, and is no reason to begin the chain anew, which would also forget how
	// far this machine's clock is off.
	{says: "signature expired", kind: failure.ClockSkew, hint: "this machine's clock is off: set it (NTP)"},
	{says: "signature not yet current", kind: failure.ClockSkew, hint: "this machine's clock is off: set it (NTP)"},
	{code: "Throttling", kind: failure.Throttled}, {code: "ThrottlingException", kind: failure.Throttled}, {code: "RequestLimitExceeded", kind: failure.Throttled},
	{code: "TooManyRequestsException", kind: failure.Throttled}, {code: "SlowDown", kind: failure.Throttled},
	{status: 429, kind: failure.Throttled},
	{status: 500, kind: failure.Unavailable}, {status: 502, kind: failure.Unavailable}, {status: 503, kind: failure.Unavailable}, {status: 504, kind: failure.Unavailable},

	{when: isForeign, kind: failure.Credentials, hint: another}, {says: "did not contain credentials", kind: failure.Credentials, hint: another},

	{from: creds.Process, kind: failure.Credentials, hint: "run the credential_process of the profile by hand, as Fluent Bit's user and with its environment"},
	{from: creds.SSO, kind: failure.Credentials, hint: "the login has ended: aws sso login, as Fluent Bit's user; a service wants a role instead"},
	{from: creds.WebIdentity, says: "no openidconnect provider", kind: failure.Credentials, hint: "the account of {role} has no IAM OIDC provider for this cluster: make one"},
	{from: creds.WebIdentity, says: "audience", kind: failure.Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is for another audience (aud) than the IAM OIDC provider in the account of {role} has among its client ids"},
	{from: creds.WebIdentity, code: "InvalidIdentityToken", kind: failure.Credentials, hint: "the account of {role} does not know who issued the token of AWS_WEB_IDENTITY_TOKEN_FILE: check its IAM OIDC provider"},
	{from: creds.WebIdentity, code: "ExpiredTokenException", kind: failure.Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is too old: who renews that file?"},
	{from: creds.WebIdentity, says: "expired", kind: failure.Credentials, hint: "the token in AWS_WEB_IDENTITY_TOKEN_FILE is too old: who renews that file?"},
	{from: creds.WebIdentity, says: "failed to retrieve jwt", kind: failure.Credentials, hint: "AWS_WEB_IDENTITY_TOKEN_FILE cannot be read by Fluent Bit's user"},
	{from: creds.WebIdentity, kind: failure.Credentials, hint: "the trust policy of {role} has to allow sts:AssumeRoleWithWebIdentity for this cluster's OIDC provider and this service account (sub and aud)"},
	{code: "RegionDisabledException", kind: failure.Credentials, hint: "STS is not active in that region for the account: its owner has to activate it, or set sts_endpoint to another region's"},
	{from: creds.Role, code: "InvalidClientTokenId", kind: failure.Credentials, hint: renew},
	{from: creds.Role, code: "UnrecognizedClientException", kind: failure.Credentials, hint: renew},
	{from: creds.Role, code: "ExpiredToken", kind: failure.Credentials, hint: renew},
	{from: creds.Role, code: "ExpiredTokenException", kind: failure.Credentials, hint: renew},
	{from: creds.Role, says: "signature", kind: failure.Credentials, hint: "the secret key is not the access key's"},
	{from: creds.Role, kind: failure.Credentials, hint: "check that these credentials may assume {role} (sts:AssumeRole, its trust policy, external_id)"},
	{from: creds.Container, status: 404, kind: failure.Credentials, hint: "no role is tied to this container: an EKS Pod Identity association of its service account, or the task's role on ECS"},
	{from: creds.Container, kind: failure.Credentials, hint: "check what the endpoint said: the association or the task's role, and the token file that goes with it"},
	{from: creds.Metadata, kind: failure.Credentials, hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or role_arn, or run where a role is attached; in a container, the instance's metadata service needs a hop limit of 2 (HttpPutResponseHopLimit)"},
	{kind: failure.Credentials, hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or role_arn, or run where a role is attached"},
}

const another = "what answered is not {who}: check its address (sts_endpoint, endpoint URLs of environment and profile), and what stands between, such as a proxy or a login page"

func isForeign(f *fault) bool { return errors.As(f.Err, new(wire.Foreign)) }

// judgeCredentials gives kind and hint of what came of asking for credentials. Who does not answer at all is unreachable, unless
// it is the last of the chain: then there are no credentials.
func (f *fault) judgeCredentials(ctx context.Context, e creds.Error) (failure.Kind, string) {
	from := e.Provider()
	if errors.As(e, new(wire.ProxyError)) {
		return failure.Proxy, "the proxy of HTTPS_PROXY or HTTP_PROXY does not let requests to " + string(from) + " through: give it name and password in that URL, or except that host with NO_PROXY"
	}
	if from != creds.Process && (ctx.Err() != nil || e.Silent()) {
		return failure.Unreachable, "check that whoever hands out the credentials (STS, SSO, metadata service) can be reached from here"
	}
	status, code, message := e.Answer()
	asked := &fault{Error: &Error{Status: status, Code: code, Err: e}, from: from, text: strings.ToLower(message + " " + e.Error())}
	c := asked.first(credentialRows)
	return c.kind, strings.NewReplacer("{role}", cmp.Or(f.config.RoleARN, os.Getenv("AWS_ROLE_ARN"), "the role"), "{who}", string(from)).Replace(c.hint)
}
