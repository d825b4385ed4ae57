// Package report reads Amberflo's verdict on what was sent. Amberflo answers late and elsewhere: for an
// object that it does not take it writes failed-requests/<date>/<original uri>.reason.txt into the bucket
// (docs.amberflo.io/docs/s3-ingestion). It is silent about an object that it takes.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"out_amberflo/plugin/alarm"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
)

// Bucket is where Amberflo's reports are. Where a right is missing, an error of it holds a [failure.Error] of kind Denied.
type Bucket interface {
	// List calls page with the keys under prefix, some at a time; an error of page ends it and is returned as it is.
	List(ctx context.Context, prefix string, page func(keys []string) error) error
	// Get returns the first limit bytes of an object.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// ARN names the bucket, and what in it begins with prefix, as policies do.
	ARN(prefix string) (container, objects string)
}

// Options say what a Reporter works on.
type Options struct {
	Dir    string // of the spool, for the command that the log names
	Spool  *spool.Spool
	Bucket Bucket
	Prefix string        // under which Amberflo puts its reports
	Window time.Duration // how long after its upload an object waits for a verdict
	Log    *slog.Logger
}

const (
	// A round looks for the reports of all objects at once. An object asks for one when it is this old,
	// then at twice the age each time, and at the end of the window.
	firstLook = 15 * time.Second
	// Without the right to list, the next try is after four times firstLook, then twice as long each time, up to this long.
	rarestTry = time.Hour
	// Reports are a few lines; of a longer one the beginning is kept.
	reasonLimit = 64 << 10
)

// Reporter waits for the verdict on what is in sent/.
type Reporter struct {
	opt     Options
	first   time.Duration // firstLook, shorter in tests
	rarest  time.Duration // rarestTry, likewise
	listed  bool          // a listing has succeeded since the start
	looked  bool          // the first round is over, which looks at once for what an earlier process sent
	denials int           // of listings, while none has succeeded
	trouble alarm.Alarm   // of other failures

	failed atomic.Int64
}

// Failed counts the objects that Amberflo did not take, since the start.
func (r *Reporter) Failed() int64 { return r.failed.Load() }

// New makes a Reporter; Run sets it going.
func New(o Options) *Reporter { return &Reporter{opt: o, first: firstLook, rarest: rarestTry} }

// Run looks for failure reports until ctx ends, and makes no request while nothing waits for one.
// Without the permission to list it says so once and asks again ever more rarely; when it comes to the rarest, nothing is
// kept for a verdict any more until the permission is there.
func (r *Reporter) Run(ctx context.Context) {
	for {
		next, err := r.round(ctx)
		var e *failure.Error
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &e) && e.Kind == failure.Denied && !r.listed:
			next = r.denied(err)
		case err != nil:
			next = max(next, r.first)
			if n, tell := r.trouble.Failed(""); tell {
				r.opt.Log.Warn("looking for failure reports failed, will be tried again", "failures", n, "err", err)
			}
		default:
			if r.denials > 0 {
				r.denials = 0
				r.opt.Spool.KeepSent(true)
				r.opt.Log.Info("failure reports can be read now")
			}
			if n, _, tell := r.trouble.Succeeded(); tell {
				r.opt.Log.Info("looking for failure reports succeeded again", "failures", n)
			}
		}
		var timer <-chan time.Time
		uploaded := r.opt.Spool.Uploaded()
		if next > 0 {
			timer = time.After(next)
			uploaded = nil // its first look is not due before this one
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-uploaded:
		}
	}
}

// round looks once for all that waits, and tells when to look again; 0: when something was uploaded.
func (r *Reporter) round(ctx context.Context) (time.Duration, error) {
	objects, err := r.opt.Spool.InBucket()
	if err != nil || len(objects) == 0 && r.denials == 0 {
		r.looked = r.looked || err == nil
		return 0, err
	}
	now := time.Now()
	due := !r.looked || r.denials > 0
	for _, obj := range objects {
		due = due || now.Sub(obj.Since) >= r.first
	}
	if due {
		waiting := newAwaited(objects)
		err = r.opt.Bucket.List(ctx, r.opt.Prefix, func(keys []string) error {
			for _, key := range keys {
				if obj, ok := waiting.match(key); ok {
					if err := r.keepFailed(ctx, obj, key); err != nil {
						return err
					}
					waiting.remove(obj)
				}
			}
			return nil
		})
		if err == nil {
			r.looked, r.listed = true, true
		}
		objects = objects[:0]
		for _, obj := range waiting.byKey {
			if now.Sub(obj.Since) < r.opt.Window {
				objects = append(objects, obj)
			} else { // also when nobody can look: the disk is not for that
				err = errors.Join(err, r.opt.Spool.Forget(obj))
			}
		}
		if err != nil {
			return r.first, err
		}
	}
	next := time.Duration(0)
	for _, obj := range objects {
		if left := nextLook(max(0, now.Sub(obj.Since)), r.first, r.opt.Window); next == 0 || left < next {
			next = left
		}
	}
	if len(objects) > 0 {
		next = max(next, r.first/10) // looks that are due at nearly the same time are one
	}
	return next, nil
}

// nextLook is the time until an object of that age asks for a look.
func nextLook(age, first, window time.Duration) time.Duration {
	at := first
	for at <= age {
		at *= 2
	}
	return min(at, max(window, first)) - age
}

// keepFailed keeps an object that Amberflo did not take, with the reason.
func (r *Reporter) keepFailed(ctx context.Context, obj spool.Object, report string) error {
	reason, err := r.opt.Bucket.Get(ctx, report, reasonLimit)
	if err != nil {
		var e *failure.Error
		if !errors.As(err, &e) || e.Kind != failure.Denied {
			return err
		}
		reason = fmt.Appendf(nil, "the report %s is there, but may not be read: %v\n", report, err)
	}
	if err := r.opt.Spool.KeepFailed(obj, reason); err != nil {
		return err
	}
	r.failed.Add(1)
	records, customers := r.count(obj)
	first, _, _ := strings.Cut(strings.TrimSpace(string(reason)), "\n")
	if len(first) > 300 { // all of it lies beside the object
		first = strings.ToValidUTF8(first[:300], "") + "…"
	}
	r.opt.Log.Error("Amberflo did not take an object: it is kept in failed/; fix the cause and send it again", "key", obj.Key,
		"records", records, "customers", customers, "reason", first,
		"command", fmt.Sprintf("meterctl --store-dir %s resend %s", r.opt.Dir, obj.Key))
	return nil
}

// count says how much money an object is about.
func (r *Reporter) count(obj spool.Object) (records, customers int) {
	seen := make(map[string]struct{})
	records, _ = r.opt.Spool.FailedRecords(obj, func(line []byte) error {
		var record struct {
			CustomerID string `json:"customerId"`
		}
		if json.Unmarshal(line, &record) == nil && record.CustomerID != "" {
			seen[record.CustomerID] = struct{}{}
		}
		return nil
	})
	return records, len(seen)
}

// denied says once what is missing, and returns when to ask again.
func (r *Reporter) denied(err error) (next time.Duration) {
	next = min(4*r.first<<min(r.denials, 20), r.rarest)
	if next == r.rarest {
		r.opt.Spool.KeepSent(false)
		r.opt.Spool.ForgetAll()
	}
	if r.denials++; r.denials > 1 {
		return next
	}
	container, objects := r.opt.Bucket.ARN(r.opt.Prefix)
	r.opt.Log.Warn("failure reports cannot be read: objects that Amberflo does not take will not show here. "+
		"Ask the bucket's owner for these statements, or set failure_reports off", "statements", fmt.Sprintf(
		`[{"Effect":"Allow","Principal":{"AWS":"%[1]s"},"Action":"s3:ListBucket","Resource":"%[2]s","Condition":{"StringLike":{"s3:prefix":"%[4]s*"}}},`+
			`{"Effect":"Allow","Principal":{"AWS":"%[1]s"},"Action":"s3:GetObject","Resource":"%[3]s"}]`,
		container[:strings.Index(container, ":s3")]+":iam::ACCOUNT:role/ROLE", container, objects, r.opt.Prefix), "err", err)
	return next
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// token is what of a key is unique to the object, however a report spells the rest: the uuid, or the
// last part without its extensions.
func token(key string) string {
	key = strings.ToLower(key)
	if all := uuids.FindAllString(key, -1); len(all) > 0 {
		return all[len(all)-1]
	}
	return stem(key)
}

func stem(key string) string {
	name := path.Base(key)
	for _, suffix := range []string{".gz", ".json", ".ndjson"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// awaited are the objects that wait for a verdict, by key and by token, in small letters.
type awaited struct {
	byKey   map[string]spool.Object
	byToken map[string][]string // keys
}

func newAwaited(objects []spool.Object) *awaited {
	w := &awaited{make(map[string]spool.Object, len(objects)), make(map[string][]string, len(objects))}
	for _, obj := range objects {
		key := strings.ToLower(obj.Key)
		w.byKey[key] = obj
		w.byToken[token(key)] = append(w.byToken[token(key)], key)
	}
	return w
}

func (w *awaited) remove(obj spool.Object) {
	key := strings.ToLower(obj.Key)
	delete(w.byKey, key)
	w.byToken[token(key)] = slices.DeleteFunc(w.byToken[token(key)], func(k string) bool { return k == key })
}

// match finds the object that a report is about: the one whose whole key it ends with, or else the only one with its token.
func (w *awaited) match(report string) (spool.Object, bool) {
	report, ok := strings.CutSuffix(strings.ToLower(report), spool.ReasonSuffix)
	if !ok {
		return spool.Object{}, false
	}
	for rest, more := report, true; more; _, rest, more = strings.Cut(rest, "/") {
		if obj, ok := w.byKey[rest]; ok {
			return obj, true
		}
	}
	for _, id := range append(uuids.FindAllString(report, -1), stem(report)) {
		if keys := w.byToken[id]; len(keys) == 1 {
			return w.byKey[keys[0]], true
		}
	}
	return spool.Object{}, false
}
