// Package main is the shared object: the C interface of Fluent Bit's proxy for outputs in Go, and
// nothing else. Bytes come in, a code goes out, and no panic leaves.
//
// Fluent Bit calls FLBPluginRegister once per load, then per [OUTPUT] FLBPluginInit, any number of
// FLBPluginFlushCtx, from several threads with Workers, and FLBPluginExitCtx; at the end
// FLBPluginUnregister. A hot reload registers again first. (flb_plugin_proxy.c, proxy/go/go.c)
package main

import "C"

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"github.com/fluent/fluent-bit-go/output"

	"out_amberflo/plugin"
)

// started numbers the outputs as Fluent Bit does, from 0 after each registration; it tells an output
// written in Go no name.
var started atomic.Int32

//export FLBPluginRegister
func FLBPluginRegister(def unsafe.Pointer) C.int {
	started.Store(0)
	return C.int(output.FLBPluginRegister(def, "amberflo", "Meter records for Amberflo, through its S3 bucket"))
}

// goInit is FLBPluginInit behind the check in init.c. Fluent Bit does not start if it answers FLB_ERROR.
//
//export goInit
func goInit(ctx unsafe.Pointer) C.int {
	host := hostOf(ctx, fmt.Sprintf("amberflo.%d", started.Add(1)-1))
	defer caught(host, "start")
	host.Publish = metricsOf(ctx, host.Name)
	p, err := plugin.Start(context.Background(), host)
	if err != nil {
		plugin.LogError(host, err)
		return output.FLB_ERROR
	}
	output.FLBPluginSetContext(ctx, p)
	return output.FLB_OK
}

// FLBPluginFlushCtx answers FLB_OK for a chunk that is durable and FLB_RETRY for every other. It never
// answers FLB_ERROR, with which Fluent Bit drops the chunk.
//
//export FLBPluginFlushCtx
func FLBPluginFlushCtx(ctx, data unsafe.Pointer, length C.int, tag *C.char) (code C.int) {
	code = output.FLB_RETRY
	defer caught(unknown, "flush")
	p, ok := output.FLBPluginGetContext(ctx).(*plugin.Instance)
	if !ok || length < 0 {
		return code
	}
	// A view, not a copy: Flush keeps nothing, and Fluent Bit leaves the chunk alone until the answer.
	if p.Flush(C.GoString(tag), unsafe.Slice((*byte)(data), int(length))) != nil {
		return code
	}
	return output.FLB_OK
}

//export FLBPluginExitCtx
func FLBPluginExitCtx(ctx unsafe.Pointer) C.int {
	defer caught(unknown, "stop")
	if p, ok := output.FLBPluginGetContext(ctx).(*plugin.Instance); ok {
		p.Stop()
	}
	return output.FLB_OK
}

//export FLBPluginUnregister
func FLBPluginUnregister(def unsafe.Pointer) {
	output.FLBPluginUnregister(def)
}

// unknown is the output in a log line where none is at hand.
var unknown = plugin.Host{Name: "amberflo", Log: logThroughHost}

// caught keeps a panic inside, with its stack in the log.
func caught(host plugin.Host, doing string) {
	if r := recover(); r != nil {
		plugin.LogError(host, fmt.Errorf("a mistake in this plugin, please report it: panic in %s: %v\n%s", doing, r, debug.Stack()))
	}
}

func main() {}
