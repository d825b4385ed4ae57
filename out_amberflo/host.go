package main

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "host.h"
*/
import "C"

import (
	"log/slog"
	"unsafe"

	"github.com/fluent/fluent-bit-go/output"

	"out_amberflo/plugin"
)

// hostOf gives what Fluent Bit offers to one output. name is used if it tells none.
func hostOf(ctx unsafe.Pointer, name string) plugin.Host {
	instance := C.amberflo_instance(ctx)
	if told := C.amberflo_name(instance); told != nil {
		name = C.GoString(told)
	}
	host := plugin.Host{
		Name:   name,
		Option: func(key string) string { return output.FLBPluginConfigKey(ctx, key) },
		Log:    logThroughHost,
	}
	// Asked now: outputs that share a spool log through the first of them, whose instance Fluent Bit frees while the
	// others go on.
	enabled := func(level slog.Level) C.int { return C.amberflo_log_enabled(instance, levelOf(level)) }
	if enabled(slog.LevelError) >= 0 {
		host.Level = slog.LevelError + 1 // none
		for _, level := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
			if enabled(level) == 1 {
				host.Level = level
			}
		}
	}
	return host
}

// kinds are the types of options that Fluent Bit's help knows (flb_config_map.h).
var kinds = map[string]C.int{"string": 0, "integer": 2, "boolean": 3, "size": 5, "time": 6}

// offerOptions hands the table of options to a host that takes one, and tells if it did. Its strings live as long as the process.
func offerOptions(def unsafe.Pointer) bool {
	var table []C.struct_amberflo_option
	for _, o := range plugin.Options() {
		entry := C.struct_amberflo_option{kind: kinds[o.Kind], name: C.CString(o.Key), description: C.CString(o.Help)}
		if o.Default != "" {
			entry.default_value = C.CString(o.Default)
		}
		table = append(table, entry)
	}
	return C.amberflo_offer_options(def, &table[0], C.int(len(table))) == 1
}

// logThroughHost leaves long lines to standard error: Fluent Bit cuts them off at some 4,000 bytes.
func logThroughHost(level slog.Level, line string) bool {
	if len(line) > 3500 {
		return false
	}
	s := C.CString(line)
	defer C.free(unsafe.Pointer(s))
	return C.amberflo_log(levelOf(level), s) == 1
}

func levelOf(level slog.Level) C.int {
	switch {
	case level >= slog.LevelError:
		return 1
	case level >= slog.LevelWarn:
		return 2
	case level >= slog.LevelInfo:
		return 3
	}
	return 4
}

// metricsOf makes all metrics of an output in the host; nil if it has none. It must be called in
// FLBPluginInit, see host.c. The names live as long as the process: there are few, and a reload makes
// them anew.
func metricsOf(ctx unsafe.Pointer, name string) func([]float64) {
	type series struct {
		metric  unsafe.Pointer
		counter C.int
		label   *C.char
	}
	var all []series
	output := C.CString(name)
	for _, m := range plugin.Metrics {
		s := series{}
		if m.Counter {
			s.counter = 1
		}
		var label *C.char
		if m.Label != "" {
			label = C.CString(m.Label)
		}
		s.metric = C.amberflo_metric(C.amberflo_instance(ctx), s.counter, C.CString(m.Name), C.CString(m.Help), label)
		if s.metric == nil {
			return nil
		}
		if m.Label == "" {
			all = append(all, s)
		}
		for _, value := range m.Values {
			s.label = C.CString(value)
			all = append(all, s)
		}
	}
	set := func(values []float64) {
		for i, v := range values {
			C.amberflo_set(all[i].metric, all[i].counter, C.double(v), output, all[i].label)
		}
	}
	set(make([]float64, len(all))) // from now on no series is added
	return set
}
