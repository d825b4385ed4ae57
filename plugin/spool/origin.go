package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
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
	formerLeft    = ".retry-"
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

func (o Origin) path(d *disk.Dir) string {
	switch kind, id := o.parse(); kind {
	case RemapOf:
		return d.Path(disk.Rejected, RejectsFile(uuid.MustParse(id))) // it is valid
	case formerRetryOf:
		return d.Path(disk.Rejected, formerLeft+id)
	case RescueOf, SplitOf:
		name := "." + string(o) + "="
		taken, err := named(d, disk.Damaged, name)
		if err != nil {
			return d.Path(disk.Damaged) // that is there, and nothing counts
		}
		return append(taken, d.Path(disk.Damaged, name))[0]
	}
	return d.Path(disk.Open, string(o)+".log")
}

// gone tells if the origin is not there any more, for good.
func (o Origin) gone(d *disk.Dir) (bool, error) {
	path := o.path(d)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if !o.byHand() {
		return true, nil
	}
	// Another process did that, and may not have synced it yet.
	err := d.SyncDir(filepath.Dir(path))
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

// sealed is a file in sealing/ that waits for its origin to go, and then for its place:
//
//	<origin>=<file>         an object, for outbox/
//	<origin>@<dir>=<file>   rejects or damage, for that directory
type sealed struct {
	from Origin
	dir  string
	file string // below it
}

// name is that of the file. The origin leads, so that a start knows whether it counts.
func (x sealed) name() string {
	lead := string(x.from)
	if x.dir != disk.Outbox {
		lead += "@" + x.dir
	}
	return lead + "=" + url.PathEscape(x.file)
}

// parseSealed reads what name wrote; ok is false for any other file.
func parseSealed(name string) (x sealed, ok bool) {
	lead, escaped, ok := strings.Cut(name, "=")
	from, dir, aside := strings.Cut(lead, "@")
	if !aside {
		dir = disk.Outbox
	} else if dir != disk.Rejected && dir != disk.Damaged {
		return x, false
	}
	file, err := url.PathUnescape(escaped)
	x = sealed{Origin(from), dir, file}
	_, id := x.from.parse()
	return x, ok && uuid.Validate(id) == nil && err == nil && filepath.IsLocal(file)
}

// SealedName is the name in sealing/ of an object's file, which counts when its origin is gone.
func SealedName(from Origin, file string) string { return sealed{from, disk.Outbox, file}.name() }

// ParseSealed tells where a file of sealing/ will be: in which of the directories, under which path there; "" for one that is
// being written, or is somebody else's.
func ParseSealed(name string) (dir, file string) {
	if x, ok := parseSealed(name); ok {
		return x.dir, x.file
	}
	return "", ""
}

// allSealed lists the files in sealing/ that wait.
func allSealed(d *disk.Dir) (all []sealed, err error) {
	entries, err := os.ReadDir(d.Path(disk.Sealing))
	for _, e := range entries {
		if x, ok := parseSealed(e.Name()); ok && e.Type().IsRegular() {
			all = append(all, x)
		}
	}
	return all, err
}

// whole lists those whose origin is gone, for good.
func whole(d *disk.Dir, of func(sealed) bool) (found []sealed, err error) {
	all, err := allSealed(d)
	for _, x := range all {
		if !of(x) {
			continue
		}
		gone, gerr := x.from.gone(d)
		if err = errors.Join(err, gerr); gone {
			found = append(found, x)
		}
	}
	return found, err
}

// unseal removes those that do not count because their origin is there.
func unseal(d *disk.Dir, from Origin) error {
	all, err := allSealed(d)
	for _, x := range all {
		if x.from != from {
			continue
		}
		if rerr := d.Remove(d.Path(disk.Sealing, x.name())); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// Sealing writes what comes of one origin to sealing/: objects, rejects into one file, and damage. After Finish the caller
// removes the origin; after a failure it calls Undo. It is not safe for concurrent use.
type Sealing struct {
	Objects object.Series
	Day     time.Time // of the rejects

	from    Origin
	rejects *disk.File // nil before the first
	aside   bool       // some damage is in sealing/, or all rejects
}

// NewSealing begins one. id is that of the first object, and opened its time, and the day of the rejects if nothing else is set.
// Both are the same each time that one segment is tried.
func NewSealing(m *object.Maker, from Origin, id uuid.UUID, opened time.Time) *Sealing {
	return &Sealing{from: from, Day: opened, Objects: object.Series{
		Maker: m, ID: id, Opened: opened,
		Place: func(file string) string { return m.Dir.Path(disk.Sealing, SealedName(from, file)) },
	}}
}

// Reject takes whole lines.
func (w *Sealing) Reject(lines []byte) (err error) {
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
func (w *Sealing) Damage(file string, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	w.aside = true
	d := w.Objects.Maker.Dir
	return d.WriteFile(d.Path(disk.Sealing, sealed{w.from, disk.Damaged, file}.name()), b)
}

// Finish makes all of it whole and durable.
func (w *Sealing) Finish() error {
	err := w.Objects.Finish()
	d := w.Objects.Maker.Dir
	if err == nil && w.rejects != nil {
		if err = w.rejects.Close(); err == nil {
			err = w.rejects.Rename(d.Path(disk.Sealing, sealed{w.from, disk.Rejected, RejectsFile(journal.WithTime(w.Objects.ID, w.Day))}.name()))
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
func (w *Sealing) Abort() {
	w.Objects.Abort()
	if w.rejects != nil {
		w.rejects.Abort()
		w.rejects = nil
	}
}

// Undo removes all of it again: the origin is there.
func (w *Sealing) Undo() error {
	w.Abort()
	return unseal(w.Objects.Maker.Dir, w.from)
}

// publishAside moves rejects or damage from sealing/ to their directory, for good: what somebody takes from there must not be
// there once more after a power cut. size is 0 if another process was faster.
func publishAside(d *disk.Dir, x sealed) (size int64, err error) {
	from, to := d.Path(disk.Sealing, x.name()), d.Path(x.dir, x.file)
	st, err := os.Stat(from)
	if err == nil {
		err = d.MkdirAll(filepath.Dir(to))
	}
	if err == nil { // another process may have made the directory, and died before it synced that
		err = d.SyncDir(d.Path(x.dir))
	}
	if err == nil {
		err = d.Rename(from, to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(from); errors.Is(gone, fs.ErrNotExist) {
			return 0, nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("publish %s/%s: %w", x.dir, x.file, err)
	}
	disk.Crash("aside-published")
	return st.Size(), d.SyncDirs(filepath.Dir(to), d.Path(disk.Sealing))
}

// PublishRejects moves what retries have left in sealing/ back to rejected/. The caller has rejected/ locked.
func PublishRejects(d *disk.Dir) error {
	found, err := whole(d, func(x sealed) bool { return x.dir == disk.Rejected && x.from.byHand() })
	for _, x := range found {
		_, perr := publishAside(d, x)
		err = errors.Join(err, perr)
	}
	return err
}

// UndoRetries removes what retries that were cut off have left: the lines are still in rejected/. The caller has that locked, or
// nobody can.
func UndoRetries(d *disk.Dir) error {
	all, err := allSealed(d)
	for _, x := range all {
		if kind, _ := x.from.parse(); kind != RemapOf {
			continue
		}
		if _, serr := os.Stat(x.from.path(d)); serr == nil {
			serr = unseal(d, x.from)
			err = errors.Join(err, serr)
		} else if !errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, serr)
		}
	}
	former, ferr := named(d, disk.Rejected, formerLeft)
	err = errors.Join(err, ferr)
	for _, path := range former {
		if err == nil {
			from := Origin(formerRetryOf + strings.TrimPrefix(filepath.Base(path), formerLeft))
			err = undo(d, from, func() error { return d.Remove(path) })
		}
	}
	return err
}

// UndoRepairs removes what was made of objects that are still there, and puts those back. The caller has damaged/ locked, or
// nobody can.
func UndoRepairs(d *disk.Dir) error {
	for kind, dir := range map[string]string{RescueOf: DamagedObjects, SplitOf: disk.Outbox} {
		taken, err := named(d, disk.Damaged, "."+kind)
		if err != nil {
			return err
		}
		for _, path := range taken {
			x, ok := parseSealed(strings.TrimPrefix(filepath.Base(path), "."))
			if !ok {
				continue
			}
			to := d.Path(dir, x.file)
			if err := undo(d, x.from, func() error {
				if err := d.MkdirAll(filepath.Dir(to)); err != nil {
					return err
				}
				return d.Rename(path, to)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// undo takes an origin out of the way. What was made of it goes first, and for good: it counts when the origin is gone.
func undo(d *disk.Dir, from Origin, end func() error) error {
	err := unseal(d, from)
	if err == nil {
		err = d.SyncDir(d.Path(disk.Sealing))
	}
	if err == nil {
		err = end()
	}
	return err
}
