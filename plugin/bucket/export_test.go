package bucket

import (
	"testing"
	"time"
)

// set gives a variable another value for the time of a test, or of the process. A bucket takes it when it is opened.
func set[T any](t *testing.T, variable *T, value T) {
	was := *variable
	*variable = value
	if t != nil {
		t.Cleanup(func() { *variable = was })
	}
}

// SetRequestTimeout is for tests of servers that do not answer.
func SetRequestTimeout(t *testing.T, d time.Duration) { set(t, &requestTimeout, d) }

// SetAnswerTimeout is for tests of a put that takes longer than who hands out credentials may.
func SetAnswerTimeout(t *testing.T, d time.Duration) { set(t, &credentialLimits.Answer, d) }

// SetDeniedAge is for tests of credentials that are replaced.
func SetDeniedAge(t *testing.T, d time.Duration) { set(t, &deniedAge, d) }

// SetStallTimeout is for tests of links that are slow or dead.
func SetStallTimeout(t *testing.T, d time.Duration) { set(t, &attemptLimits.Stall, d) }

// SetAliveTimeout is for tests of connections that are dead though they were kept.
func SetAliveTimeout(t *testing.T, d time.Duration) { set(t, &attemptLimits.Alive, d) }

// SetLookupTimeout is for tests of credentials that do not come.
func SetLookupTimeout(t *testing.T, d time.Duration) { set(t, &credentialLimits.Lookup, d) }

// SetHelperTimeout is for tests of a credential_process that hangs.
func SetHelperTimeout(t *testing.T, d time.Duration) { set(t, &credentialLimits.Helper, d) }
