package bucket

import "time"

// SetRequestTimeout is for tests of servers that do not answer.
func SetRequestTimeout(d time.Duration) { requestTimeout = d }

// SetDeniedAge is for tests of credentials that are replaced.
func SetDeniedAge(d time.Duration) { deniedAge = d }
