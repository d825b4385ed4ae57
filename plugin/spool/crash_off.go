//go:build !crashpoints

package spool

// crash stops the process at a named point, in builds for the crash tests only (crash_on.go).
func crash(string) {}
