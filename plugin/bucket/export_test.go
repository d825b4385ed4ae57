package bucket

import (
	"testing"
	"time"
)

// AnswerTime is how long a put waits for an answer.
var AnswerTime = answerTime

// set gives a variable another value for the time of a test, or of the process.
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
func SetAnswerTimeout(t *testing.T, d time.Duration) { set(t, &answerTimeout, d) }

// SetDeniedAge is for tests of credentials that are replaced.
func SetDeniedAge(t *testing.T, d time.Duration) { set(t, &deniedAge, d) }

// SetStallTimeout is for tests of links that are slow or dead.
func SetStallTimeout(t *testing.T, d time.Duration) { set(t, &stallTimeout, d) }

// SetAliveTimeout is for tests of connections that are dead though they were kept.
func SetAliveTimeout(t *testing.T, d time.Duration) { set(t, &aliveTimeout, d) }

// SetLookupTimeout is for tests of credentials that do not come.
func SetLookupTimeout(t *testing.T, d time.Duration) { set(t, &lookupTimeout, d) }

// SetHelperTimeout is for tests of a credential_process that hangs.
func SetHelperTimeout(t *testing.T, d time.Duration) { set(t, &helperTimeout, d) }
