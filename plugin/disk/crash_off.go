//go:build !crashpoints

package disk

// Crash stops the process at a named point, in builds for the crash tests only (crash_on.go).
func Crash(string) {}
