// Package main is the shared object: the C interface of Fluent Bit's proxy for outputs in Go, and
// nothing else. Bytes come in, a code goes out, and no panic leaves. init.c has the functions that
// Fluent Bit knows, each in front of the one in Go here.
//
// Fluent Bit calls FLBPluginRegister once per load, then per [OUTPUT] FLBPluginInit, any number of
// FLBPluginFlushCtx, from several threads with Workers, and FLBPluginExitCtx; at the end
// FLBPluginUnregister. A hot reload registers again first. (flb_plugin_proxy.c, proxy/go/go.c)
package main

// #include "host.h"
import "C"

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/fluent/fluent-bit-go/output"

	"out_amberflo/plugin"
)

// started numbers the outputs, from 0 after each registration, for a host that tells no names.
var started atomic.Int32

// knowsOptions: the host has taken the table of options, and does not start with what is not in it.
var knowsOptions atomic.Bool

// running is what the host holds for an output: empty once the output was stopped, because fluent-bit-go
// keeps it for as long as the process lives.
type running struct {
	atomic.Pointer[plugin.Instance]
	looked atomic.Int32 // how many chunks were looked at for where they lie
}

// A look takes some 0.1 ms: the first chunks show how an input keeps them.
const looks = 64

func instance(ctx unsafe.Pointer) (*running, *plugin.Instance) {
	if r, ok := output.FLBPluginGetContext(ctx).(*running); ok {
		return r, r.Load()
	}
	return nil, nil
}

//export goRegister
func goRegister(def unsafe.Pointer) C.int {
	started.Store(0)
	code := output.FLBPluginRegister(def, "amberflo", "Meter records for Amberflo, through its S3 bucket")
	knowsOptions.Store(offerOptions(def))
	return C.int(code)
}

// goInit answers FLB_ERROR if the output cannot start; then Fluent Bit does not start either.
//
//export goInit
func goInit(ctx unsafe.Pointer) (code C.int) {
	host := hostOf(ctx, fmt.Sprintf("amberflo.%d", started.Add(1)-1))
	code = output.FLB_ERROR
	defer plugin.Caught(host, "start")
	host.Publish = metricsOf(ctx, host.Name)
	host.KnowsOptions = knowsOptions.Load()
	host.RetriesForever = C.amberflo_retry_without_limit(C.amberflo_instance(ctx)) == 1
	p, err := plugin.Start(context.Background(), host)
	if err != nil {
		plugin.LogError(host, err)
		return code
	}
	leaner()
	r := &running{}
	r.Store(p)
	output.FLBPluginSetContext(ctx, r)
	return output.FLB_OK
}

// leaner makes live memory count one and a half times, and not twice: so little becomes garbage that to collect it more often takes
// a few ms for a million records, and it saves 3 MB where they have many customers. GOGC has the last word.
var leaner = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
})

// goFlush answers FLB_OK for a chunk that is durable and FLB_RETRY for every other. It never answers
// FLB_ERROR, with which Fluent Bit drops the chunk.
//
//export goFlush
func goFlush(ctx, data unsafe.Pointer, length C.int, tag *C.char) (code C.int) {
	code = output.FLB_RETRY
	defer plugin.Caught(unknown, "flush")
	r, p := instance(ctx)
	if p == nil || length < 0 {
		return code
	}
	if r.looked.Add(1) <= looks && C.amberflo_is_stored(data) == 0 {
		r.looked.Store(looks) // told once
		p.NotStored(C.GoString(tag))
	}
	// A view, not a copy: Flush keeps nothing, and Fluent Bit leaves the chunk alone until the answer.
	if p.Flush(C.GoString(tag), unsafe.Slice((*byte)(data), int(length))) != nil {
		return code
	}
	return output.FLB_OK
}

// goExit gets no context where the output did not start.
//
//export goExit
func goExit(ctx unsafe.Pointer) C.int {
	defer plugin.Caught(unknown, "stop")
	if r, ok := output.FLBPluginGetContext(ctx).(*running); ok {
		if p := r.Swap(nil); p != nil {
			p.Stop()
		}
	}
	return output.FLB_OK
}

//export goUnregister
func goUnregister(def unsafe.Pointer) {
	output.FLBPluginUnregister(def)
}

// unknown is the output in a log line where none is at hand.
var unknown = plugin.Host{Name: "amberflo", Log: logThroughHost}

func main() {}
