package plugin

// Version is that of the build; the Makefile sets it.
var Version = "unknown"
