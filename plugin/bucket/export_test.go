package bucket

import "time"

// SetRequestTimeout is for tests of servers that do not answer.
func SetRequestTimeout(d time.Duration) { requestTimeout = d }

// SetAnswerTimeout is for tests of a put that takes longer than who hands out credentials may.
func SetAnswerTimeout(d time.Duration) { answerTimeout = d }

// SetDeniedAge is for tests of credentials that are replaced.
func SetDeniedAge(d time.Duration) { deniedAge = d }

// SetStallTimeout is for tests of links that are slow or dead.
func SetStallTimeout(d time.Duration) { stallTimeout = d }

// SetLookupTimeout is for tests of credentials that do not come.
func SetLookupTimeout(d time.Duration) { lookupTimeout = d }

// SetHelperTimeout is for tests of a credential_process that hangs.
func SetHelperTimeout(d time.Duration) { helperTimeout = d }
