package fluentbit

import "testing"

// Needed returns the Program, or skips a test for want of one.
func Needed(t testing.TB) string {
	t.Helper()
	path, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		t.Skip(Missing)
	}
	return path
}

// Port returns a FreePort.
func Port(t testing.TB) string {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
