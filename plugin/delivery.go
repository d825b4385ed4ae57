package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/report"
	"out_amberflo/plugin/ship"
	"out_amberflo/plugin/spool"
)

// delivery is one way from disk to bucket: a spool, a bucket, what ships between them, and the
// goroutines of all that. Outputs with equal delivery options and one store_dir share one.
type delivery struct {
	config *Config
	log    *slog.Logger
	bucket *bucket.Bucket
	spool  *spool.Spool
	ship   *ship.Shipper
	report *report.Reporter // nil with failure_reports off
	events *guardrail

	stopSealing, stopShipping context.CancelFunc
	sealing, shipping         sync.WaitGroup

	users int // guarded by deliveries.mu

	panics atomic.Int64
}

// deliveries holds those of this process by store_dir. It is the one state that hangs off the package:
// Fluent Bit starts outputs one by one and tells none of the others, and a directory can be locked once.
var deliveries = struct {
	mu   sync.Mutex
	open map[string]*delivery
}{open: make(map[string]*delivery)}

// join gives the delivery for c, and the number of this user in it, counted from 0. b is taken over.
// A started delivery has to be left.
func join(ctx context.Context, c *Config, b *bucket.Bucket, log *slog.Logger) (*delivery, int, error) {
	deliveries.mu.Lock()
	defer deliveries.mu.Unlock()
	if d := deliveries.open[c.StoreDir]; d != nil {
		b.Close()
		for i, o := range options {
			if o.key != "store_dir" && c.delivery[i] != d.config.delivery[i] { // that may be written in several ways
				theirs := fmt.Sprintf(" (%s=%s)", o.key, d.config.delivery[i])
				if o.key == "external_id" {
					theirs = ""
				}
				return nil, 0, &OptionError{Key: "store_dir", Example: c.StoreDir + "-2", Got: strconv.Quote(c.StoreDir),
					Want: fmt.Sprintf("a directory of its own, because an output with another %s%s uses this one", o.key, theirs)}
			}
		}
		d.users++
		return d, d.users - 1, nil
	}
	d := &delivery{config: c, log: log, bucket: b, users: 1}
	if err := d.start(ctx); err != nil {
		b.Close()
		return nil, 0, err
	}
	deliveries.open[c.StoreDir] = d
	return d, 0, nil
}

func (d *delivery) start(ctx context.Context) error {
	if d.config.StartupCheck == "put" {
		if err := d.checkPut(ctx); err != nil {
			return err
		}
	}
	o := d.config.Spool()
	d.events = newGuardrail(d.log, d.config.EventsLimit)
	o.Log, o.Sealed = d.log, d.events.add
	var err error
	if d.spool, err = spool.Open(o); err != nil {
		return err
	}
	for _, w := range d.bucket.Warnings() {
		d.log.Warn("an option works, and may not do what is wanted: " + w)
	}
	d.countDescriptors()
	d.ship = ship.New(ship.Options{Spool: d.spool, To: d.bucket, Log: d.log})
	sealing, stop := context.WithCancel(context.Background())
	d.stopSealing = stop
	d.sealing.Go(func() { d.keepRunning(sealing, "sealing", d.spool.Run) })
	shipping, stop := context.WithCancel(context.Background())
	d.stopShipping = stop
	d.spool.KeepSent(d.config.Reports)
	for i := range d.config.UploadConcurrent {
		d.shipping.Go(func() {
			d.keepRunning(shipping, "uploading", func(ctx context.Context) { d.ship.Run(ctx, i) })
		})
	}
	if !d.config.Reports {
		d.shipping.Go(func() {
			defer d.caught("emptying sent/")
			d.spool.ForgetAll()
		})
	} else {
		d.report = report.New(report.Options{
			Dir: d.config.StoreDir, Spool: d.spool, Bucket: d.bucket,
			Prefix: d.config.ReportsPrefix, Window: d.config.ReportsWindow, Log: d.log,
		})
		d.shipping.Go(func() { d.keepRunning(shipping, "looking for failure reports", d.report.Run) })
	}
	d.shipping.Go(func() { d.keepRunning(shipping, "counting events", d.events.run) })
	if d.config.StartupCheck == "probe" {
		d.shipping.Go(func() {
			defer d.caught("startup_check")
			d.checkProbe(shipping)
		})
	}
	return nil
}

// afterPanic is the pause before what panicked is tried again: it may well panic again.
const afterPanic = 5 * time.Second

// keepRunning calls run until it returns, and again some time after each panic until ctx ends.
func (d *delivery) keepRunning(ctx context.Context, doing string, run func(context.Context)) {
	for {
		returned := false
		func() {
			defer d.caught(doing)
			run(ctx)
			returned = true
		}()
		if returned {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(afterPanic):
		}
	}
}

// caught, deferred, ends a panic: it is counted, and logged with its stack. A panic must not end the
// program that the plugin runs in.
func (d *delivery) caught(doing string) {
	if r := recover(); r != nil {
		d.panics.Add(1)
		logPanic(d.log, doing, r)
	}
}

// countDescriptors says how many file descriptors there are for what this delivery has open at once: the spool's files and
// directories, an object and a connection for each upload, reports, a helper that finds credentials.
func (d *delivery) countDescriptors() {
	var limit unix.Rlimit
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	needs, left := 32+3*d.config.UploadConcurrent, int64(min(limit.Cur, math.MaxInt32))-int64(len(open))
	say := d.log.Info
	if left < int64(needs) {
		say = d.log.Warn
	}
	say("file descriptors: what this output opens has to fit in ulimit -n", "needs", needs, "left", left, "limit", limit.Cur)
}

const checkTimeout = 15 * time.Second

// checkPut stores a small object outside of the ingest prefix. It is the same object each time.
func (d *delivery) checkPut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	const body = "Stored by out_amberflo at its start to see that it may write here. It can be deleted.\n"
	if err := d.bucket.PutText(ctx, "out_amberflo-startup-check.txt", body); err != nil {
		return fmt.Errorf("startup_check put: %w", err)
	}
	return nil
}

// checkProbe asks whether an object could be stored where objects will go, and warns if not: a start
// must not depend on S3.
func (d *delivery) checkProbe(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	key := d.config.Key.key(object.Sealed{ID: uuid.New(), Opened: time.Now()})
	if err := d.bucket.Probe(bounded, key); err != nil && ctx.Err() == nil {
		d.log.Warn("startup_check probe: uploads would fail now; records are accepted and kept until they succeed", "err", err)
	}
}

// leave is called once per join. The last to leave stops the delivery: it seals, uploads what it can
// within shutdown_timeout and lets go of the directory, before which last is called.
func (d *delivery) leave(last func()) {
	deliveries.mu.Lock()
	defer deliveries.mu.Unlock()
	if d.users--; d.users > 0 {
		last()
		return
	}
	delete(deliveries.open, d.config.StoreDir)

	ctx, cancel := context.WithTimeout(context.Background(), d.config.ShutdownTimeout)
	defer cancel()
	d.stopSealing()
	d.sealing.Wait()
	if err := d.spool.Drain(ctx); err != nil {
		d.log.Error("not all could be sealed: the next start seals what is in store_dir", "err", err)
	}
	d.ship.Hurry()
	err := d.spool.Empty(ctx)
	if err == nil {
		err = errors.New("the next try would be later")
	}
	d.stopShipping()
	d.shipping.Wait()
	if n := d.spool.Waiting(); n > 0 {
		d.log.Warn("stopped with objects waiting: the next start on this store_dir sends them", "objects", n, "shutdown_timeout", d.config.ShutdownTimeout, "err", err)
	}
	last()
	if err := d.spool.Close(); err != nil {
		d.log.Error("closing the spool failed", "err", err)
	}
	d.bucket.Close()
}
