package bucket

import "time"

// SetRequestTimeout is for tests of servers that do not answer.
func SetRequestTimeout(d time.Duration) { requestTimeout = d }

// SetAnswerTimeout is for tests of links on which a body takes its time.
func SetAnswerTimeout(d time.Duration) { answerTimeout = d }

// SetDeniedAge is for tests of credentials that are replaced.
func SetDeniedAge(d time.Duration) { deniedAge = d }
