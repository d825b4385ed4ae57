package bucket

import "time"

// SetRequestTimeout is for tests of servers that do not answer.
func SetRequestTimeout(d time.Duration) { requestTimeout = d }
