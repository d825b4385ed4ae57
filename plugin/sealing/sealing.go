// Package sealing is the step between what is accepted and what waits for its way: what an origin becomes (objects, rejects,
// damage) is written to sealing/, and counts from the moment the origin is gone.
//
//   - Removing the origin is the commit: a segment by the spool that seals it, a file of rejects or an object by meterctl, which
//     maps or repairs it.
//   - What was made of an origin that is there does not count, and is removed, by a start or by the next who does the same work:
//     never where it is not known whether it is there.
//   - Nothing leaves sealing/ before the removal is durable.
//
// There are no locks: a [Writer] belongs to one goroutine. Between processes see package disk.
package sealing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/tally"
)

// Origin is what files in sealing/ are made of: a file that has to go before they count. It is the uuid of a segment, or one of
// these and a uuid.
type Origin string

const (
	// RemapOf a file of rejected records that are mapped again; what stays of it becomes a new file of the same day.
	RemapOf = "remap-"
	// RescueOf and SplitOf an object that was taken aside, to damaged/.<origin>=<file>, from damaged/outbox/ or from outbox/.
	// Until that name goes, a start or the next repair puts the object back.
	RescueOf = "rescue-"
	SplitOf  = "split-"

	// Version 2 wrote what stays of a day to rejected/.retry-<uuid>, which was the origin until it took the place of the day's
	// file.
	formerRetryOf = "retry-"
	FormerLeft    = ".retry-"
)

func (o Origin) parse() (kind, id string) {
	for _, kind := range []string{RemapOf, RescueOf, SplitOf, formerRetryOf} {
		if id, ok := strings.CutPrefix(string(o), kind); ok {
			return kind, id
		}
	}
	return "", string(o)
}

// byHand tells origins of meterctl's work from segments: somebody may be at it.
func (o Origin) byHand() bool {
	kind, _ := o.parse()
	return kind != ""
}

// file is the path of the origin below store_dir; taken: that is how it begins, and what was taken aside follows.
func (o Origin) file() (path string, taken bool) {
	switch kind, id := o.parse(); kind {
	case RemapOf:
		return disk.Rejected + "/" + RejectsFile(uuid.MustParse(id)), false // it is valid
	case formerRetryOf:
		return disk.Rejected + "/" + FormerLeft + id, false
	case RescueOf, SplitOf:
		return disk.Damaged + "/." + string(o) + "=", true
	}
	return disk.Open + "/" + string(o) + ".log", false
}

// Matcher returns what tells if a path below store_dir is the origin.
func (o Origin) Matcher() func(path string) bool {
	file, taken := o.file()
	return func(path string) bool { return path == file || taken && strings.HasPrefix(path, file) }
}

// find returns where the origin is, or would be, and [fs.ErrNotExist] if it is not there.
func (o Origin) find(d *disk.Dir) (path string, err error) {
	file, taken := o.file()
	path = d.Path(file)
	if taken {
		var found []string
		found, err = named(d, disk.Damaged, filepath.Base(file))
		path = append(found, path)[0]
	}
	if err == nil {
		_, err = os.Stat(path)
	}
	return path, err
}

// gone tells if the origin is not there any more, for good.
func (o Origin) gone(d *disk.Dir) (bool, error) {
	path, err := o.find(d)
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if !o.byHand() {
		return true, nil
	}
	// Another process did that, and may not have synced it yet.
	err = d.SyncDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) { // the directory of its day is gone with it
		err = d.SyncDir(d.Path(disk.Rejected))
	}
	return err == nil, err
}

// named gives the paths of the files in a directory whose names begin like that.
func named(d *disk.Dir, dir, prefix string) (paths []string, err error) {
	entries, err := os.ReadDir(d.Path(dir))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			paths = append(paths, d.Path(dir, e.Name()))
		}
	}
	return paths, err
}

// RejectsFile is the path below rejected/ of the rejects with that uuid, in the directory of its day.
func RejectsFile(id uuid.UUID) string {
	return time.Unix(id.Time().UnixTime()).UTC().Format(time.DateOnly) + "/" + id.String() + ".ndjson"
}

// Pending is a file in sealing/ that waits for its origin to go, and then for its place:
//
//	<origin>=<file>         an object, for outbox/
//	<origin>@<dir>=<file>   rejects or damage, for that directory
type Pending struct {
	From Origin
	Dir  string
	File string // the path below it
}

// Name is that of the file. The origin leads, so that a start knows whether it counts.
func (x Pending) Name() string {
	lead := string(x.From)
	if x.Dir != disk.Outbox {
		lead += "@" + x.Dir
	}
	return lead + "=" + url.PathEscape(x.File)
}

// ParsePending reads what Name wrote; ok is false for any other file.
func ParsePending(name string) (x Pending, ok bool) {
	lead, escaped, ok := strings.Cut(name, "=")
	from, dir, aside := strings.Cut(lead, "@")
	if !aside {
		dir = disk.Outbox
	} else if dir != disk.Rejected && dir != disk.Damaged {
		return x, false
	}
	_, id := Origin(from).parse()
	file, err := url.PathUnescape(escaped)
	if !ok || err != nil || uuid.Validate(id) != nil || !filepath.IsLocal(file) {
		return x, false
	}
	return Pending{Origin(from), dir, file}, true
}

// allPending lists the files in sealing/ that wait.
func allPending(d *disk.Dir) (all []Pending, err error) {
	entries, err := os.ReadDir(d.Path(disk.Sealing))
	for _, e := range entries {
		if x, ok := ParsePending(e.Name()); ok && e.Type().IsRegular() {
			all = append(all, x)
		}
	}
	return all, err
}

// Whole lists those whose origin is gone, for good.
func Whole(d *disk.Dir, of func(Pending) bool) (found []Pending, err error) {
	all, err := allPending(d)
	for _, x := range all {
		if !of(x) {
			continue
		}
		gone, gerr := x.From.gone(d)
		if err = errors.Join(err, gerr); gone {
			found = append(found, x)
		}
	}
	return found, err
}

// unseal removes those that do not count because their origins are there, for good: they would count when those go.
func unseal(d *disk.Dir, of func(Origin) bool) error {
	all, err := allPending(d)
	for _, x := range all {
		if of(x.From) {
			if rerr := d.Remove(d.Path(disk.Sealing, x.Name())); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	if err != nil {
		return err
	}
	return d.SyncDir(d.Path(disk.Sealing))
}

// Undo removes what was made of origins of some kinds that are there. An error may be of one of which that is not known.
func Undo(d *disk.Dir, kinds ...string) error {
	var unknown error
	err := unseal(d, func(o Origin) bool {
		kind, _ := o.parse()
		if !slices.Contains(kinds, kind) {
			return false
		}
		_, err := o.find(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unknown = errors.Join(unknown, fmt.Errorf("look for what %s was made of: %w", o, err))
		}
		return err == nil
	})
	return errors.Join(err, unknown)
}

// Writer writes what comes of one origin to sealing/: objects, rejects into one file, and damage. After Finish the caller
// removes the origin; after a failure it calls Undo. It is not safe for concurrent use.
type Writer struct {
	Objects object.Series
	Day     time.Time         // of the rejects
	From    Origin            // is not changed
	Meters  map[string]*int64 // counts the events by meter, unless it is nil

	merger  *tally.Merger // nil before the first sum
	events  []byte        // of it, on their way to Objects
	rejects *disk.File    // nil before the first
	aside   bool          // some damage is in sealing/, or all rejects
}

// NewWriter begins one. id is that of the first object, and opened its time, and the day of the rejects if nothing else is
// set. Both are the same each time that one segment is tried.
func NewWriter(m *object.Maker, from Origin, id uuid.UUID, opened time.Time) *Writer {
	return &Writer{From: from, Day: opened, Objects: object.Series{
		Maker: m, ID: id, Opened: opened,
		Place: func(file string) string { return m.Dir.Path(disk.Sealing, Pending{from, disk.Outbox, file}.Name()) },
	}}
}

// longestEvents is how many bytes of lines go to Objects at once.
const longestEvents = 64 << 10

// Sum takes whole lines of records that were added up by buckets of that width, and adds those up that have one key. They come
// out when a Merger lets them go, after what Objects was given meanwhile.
func (w *Writer) Sum(ctx context.Context, bucket time.Duration, lines []byte) error {
	if w.merger == nil {
		w.merger = tally.NewMerger(w.Objects.ID, func(line []byte, _ int64) error {
			w.count(line)
			if w.events = append(w.events, line...); len(w.events) < longestEvents {
				return nil
			}
			return w.addEvents(ctx)
		})
	}
	w.Objects.Pace.Worked(len(lines))
	return w.merger.Add(bucket, lines)
}

// mostMeters bounds the names by which events are counted.
const mostMeters = 256

func (w *Writer) count(line []byte) {
	if w.Meters == nil {
		return
	}
	meter := tally.Meter(line)
	n := w.Meters[string(meter)]
	if n == nil {
		if len(w.Meters) == mostMeters {
			return
		}
		n = new(int64)
		w.Meters[string(meter)] = n
	}
	*n++
}

// addEvents hands what came out of the merger on.
func (w *Writer) addEvents(ctx context.Context) error {
	err := w.Objects.Add(ctx, w.events)
	w.events = w.events[:0]
	return err
}

// EndSums lets out what is added up.
func (w *Writer) EndSums(ctx context.Context) error {
	if w.merger == nil {
		return nil
	}
	if err := w.merger.End(); err != nil {
		return err
	}
	return w.addEvents(ctx)
}

// Reject takes whole lines.
func (w *Writer) Reject(lines []byte) (err error) {
	if len(lines) == 0 {
		return nil
	}
	if w.rejects == nil {
		if w.rejects, err = w.Objects.Maker.Dir.Create(); err != nil {
			return err
		}
	}
	_, err = w.rejects.Write(lines)
	return err
}

// Damage takes bytes that could not be decoded, if there are any.
func (w *Writer) Damage(file string, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	w.aside = true
	d := w.Objects.Maker.Dir
	return d.WriteFile(d.Path(disk.Sealing, Pending{w.From, disk.Damaged, file}.Name()), b)
}

// Finish makes all of it whole and durable.
func (w *Writer) Finish() error {
	err := w.Objects.Finish()
	d := w.Objects.Maker.Dir
	if err == nil && w.rejects != nil {
		if err = w.rejects.Close(); err == nil {
			err = w.rejects.Rename(d.Path(disk.Sealing, Pending{w.From, disk.Rejected, RejectsFile(journal.WithTime(w.Objects.ID, w.Day))}.Name()))
		}
		if err == nil {
			w.rejects, w.aside = nil, true
		}
	}
	if err != nil || w.Objects.Made == 0 && !w.aside {
		return err
	}
	return d.SyncDir(d.Path(disk.Sealing))
}

// Abort gives up what is not whole.
func (w *Writer) Abort() {
	w.Objects.Abort()
	if w.rejects != nil {
		w.rejects.Abort()
		w.rejects = nil
	}
}

// Undo removes all of it again: the origin is there.
func (w *Writer) Undo() error {
	w.Abort()
	return unseal(w.Objects.Maker.Dir, func(o Origin) bool { return o == w.From })
}

// PublishAside moves rejects or damage from sealing/ to their directory, for good: what somebody takes from there must not be
// there once more after a power cut. size is 0 if another process was faster.
func PublishAside(d *disk.Dir, x Pending) (size int64, err error) {
	from, to := d.Path(disk.Sealing, x.Name()), d.Path(x.Dir, x.File)
	st, err := os.Stat(from)
	if err == nil { // another process may have made the directory below, and died before it synced that
		err = d.SyncDir(d.Path(x.Dir))
	}
	if err == nil {
		err = d.Move(from, to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(from); errors.Is(gone, fs.ErrNotExist) {
			return 0, nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("publish %s/%s: %w", x.Dir, x.File, err)
	}
	disk.Crash("aside-published")
	return st.Size(), d.SyncDir(filepath.Dir(to), d.Path(disk.Sealing))
}

// PublishRejects moves what retries have left in sealing/ back to rejected/. The caller has rejected/ locked.
func PublishRejects(d *disk.Dir) error {
	found, err := Whole(d, func(x Pending) bool { return x.Dir == disk.Rejected && x.From.byHand() })
	for _, x := range found {
		_, perr := PublishAside(d, x)
		err = errors.Join(err, perr)
	}
	return err
}

// UndoRetries removes what retries that were cut off have left: the lines are still in rejected/. The caller has that locked,
// or nobody can.
func UndoRetries(d *disk.Dir) error {
	err := Undo(d, RemapOf, formerRetryOf)
	former, ferr := named(d, disk.Rejected, FormerLeft)
	err = errors.Join(err, ferr)
	for _, path := range former {
		if err == nil {
			err = d.Remove(path)
		}
	}
	return err
}

// UndoRepairs removes what was made of objects that are still there, and puts those back. The caller has damaged/ locked, or
// nobody can.
func UndoRepairs(d *disk.Dir) error {
	if err := Undo(d, RescueOf, SplitOf); err != nil {
		return err
	}
	for kind, dir := range map[string]string{RescueOf: disk.DamagedObjects, SplitOf: disk.Outbox} {
		taken, err := named(d, disk.Damaged, "."+kind)
		for _, path := range taken {
			x, ok := ParsePending(strings.TrimPrefix(filepath.Base(path), "."))
			if !ok || err != nil {
				continue
			}
			err = d.Move(path, d.Path(dir, x.File))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
