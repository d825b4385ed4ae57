package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// sealed is a file in sealing/ that waits for what it is made of to go, and then for its place:
//
//	<origin>=<file>         an object, for outbox/
//	<origin>@<room>=<file>  rejects or damage, for that room
type sealed struct {
	from origin
	room string
	file string // below the room
}

// name is that of the file. The origin leads, so that a start knows whether it counts.
func (x sealed) name() string {
	lead := string(x.from)
	if x.room != outboxDir {
		lead += "@" + x.room
	}
	return lead + "=" + url.PathEscape(x.file)
}

// parseSealed reads what name wrote; ok is false for any other file.
func parseSealed(name string) (x sealed, ok bool) {
	lead, escaped, ok := strings.Cut(name, "=")
	from, room, aside := strings.Cut(lead, "@")
	if !aside {
		room = outboxDir
	} else if room != rejectedDir && room != damagedDir {
		return x, false
	}
	file, err := url.PathUnescape(escaped)
	x = sealed{origin(from), room, file}
	return x, ok && x.from.valid() && err == nil && filepath.IsLocal(file)
}

// isSealed tells if a name in sealing/ is that of an object.
func isSealed(name string) bool {
	x, ok := parseSealed(name)
	return ok && x.room == outboxDir
}

// origin is what files in sealing/ are made of: a file that has to go before they count. It is the uuid of a log, or behind
// remapOf that of a file of rejected records (see retry.go), or behind rescueOf and splitOf that of a repair of an object (see
// repair.go).
type origin string

// kinds are what stands before the uuid.
var kinds = []string{remapOf, formerRetryOf, rescueOf, splitOf}

func (o origin) id() (kind, id string) {
	for _, kind := range kinds {
		if id, ok := strings.CutPrefix(string(o), kind); ok {
			return kind, id
		}
	}
	return "", string(o)
}

func (o origin) valid() bool {
	_, id := o.id()
	_, err := uuid.Parse(id)
	return err == nil
}

// byHand tells origins of meterctl's work from logs: somebody may be at it.
func (o origin) byHand() bool {
	kind, _ := o.id()
	return kind != ""
}

// path names the file.
func (o origin) path(s *Spool) string {
	switch kind, id := o.id(); kind {
	case remapOf:
		return s.path(rejectedDir, rejectsFile(uuid.MustParse(id))) // it is valid
	case formerRetryOf:
		return s.path(rejectedDir, formerLeft+id)
	case rescueOf, splitOf:
		name := "." + string(o) + "="
		if taken, err := s.named(damagedDir, name); err != nil || len(taken) > 0 {
			name = append(taken, "")[0] // on an error the folder: that is there, and nothing counts
		}
		return s.path(damagedDir, name)
	}
	return s.path(openDir, string(o)+".log")
}

// gone tells if the origin is not there any more, for good.
func (o origin) gone(s *Spool) (bool, error) {
	path := o.path(s)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if !o.byHand() {
		return true, nil
	}
	// Another process did that, and may not have synced it yet.
	err := s.syncDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) { // the folder of its day is gone with it
		err = s.syncDir(s.path(rejectedDir))
	}
	return err == nil, err
}

// eachSealed calls do for every file in sealing/ that waits.
func (s *Spool) eachSealed(do func(x sealed) error) error {
	entries, err := os.ReadDir(s.path(sealingDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if x, ok := parseSealed(e.Name()); ok && e.Type().IsRegular() {
			errs = append(errs, do(x))
		}
	}
	return errors.Join(errs...)
}

// unseal removes the files in sealing/ that do not count because that origin is there.
func (s *Spool) unseal(from origin) error {
	return s.eachSealed(func(x sealed) error {
		if x.from != from {
			return nil
		}
		if err := s.remove(s.path(sealingDir, x.name())); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// aside writes what comes of one origin and is no object: its rejects, into one file, and its damage.
type aside struct {
	s    *Spool
	from origin
	id   uuid.UUID // of the rejects; the same each time that one origin is tried

	file    *os.File // the rejects; nil before the first
	rejects bool     // are whole in sealing/
	damage  bool     // some is
}

// reject takes whole lines.
func (a *aside) reject(lines []byte) (err error) {
	if len(lines) == 0 {
		return nil
	}
	if a.file == nil {
		if a.file, err = os.CreateTemp(a.s.path(sealingDir), "*.tmp"); err != nil {
			return err
		}
	}
	_, err = a.s.write(a.file, lines)
	return err
}

// keep takes bytes that could not be decoded.
func (a *aside) keep(file string, b []byte) error {
	a.damage = true
	return a.s.writeFile(a.s.path(sealingDir, sealed{a.from, damagedDir, file}.name()), b)
}

// finish makes the rejects whole. Whoever removes the origin has to sync sealing/ before.
func (a *aside) finish() error {
	if a.file == nil {
		return nil
	}
	err := a.s.sync(a.file)
	tmp := a.file.Name()
	if cerr := a.file.Close(); err == nil {
		err = cerr
	}
	a.file = nil
	if err == nil {
		err = a.s.rename(tmp, a.s.path(sealingDir, sealed{a.from, rejectedDir, rejectsFile(a.id)}.name()))
	}
	if err != nil {
		_ = a.s.remove(tmp)
		return err
	}
	a.rejects = true
	return nil
}

// abort gives up what is not whole.
func (a *aside) abort() {
	if a.file != nil {
		_ = a.file.Close()
		_ = a.s.remove(a.file.Name())
		a.file = nil
	}
}

// rejectsFile is the path below rejected/ of the rejects with that uuid, in the folder of its day.
func rejectsFile(id uuid.UUID) string {
	return timeOf(id).Format(time.DateOnly) + "/" + id.String() + ".ndjson"
}

// withTime gives id with that time, which says of which day the rejects are.
func withTime(id uuid.UUID, at time.Time) uuid.UUID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli())<<16)
	copy(id[:6], ms[:])
	return id
}

// timeOf is the time in a uuid of version 7.
func timeOf(id uuid.UUID) time.Time {
	ms := int64(0)
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// publishAside moves rejects or damage from sealing/ to their room, for good: what somebody takes from there must not be there
// once more after a power cut.
func (s *Spool) publishAside(x sealed) error {
	s.outbox.mu.Lock() // as for objects: no empty folder is removed meanwhile, and nobody measures
	defer s.outbox.mu.Unlock()
	from, to := s.path(sealingDir, x.name()), s.path(x.room, x.file)
	st, err := os.Stat(from)
	if err == nil {
		err = s.mkdirAll(filepath.Dir(to))
	}
	if err == nil { // another process may have made the folder, and died before it synced that
		err = s.syncDir(s.path(x.room))
	}
	if err == nil {
		err = s.rename(from, to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(from); errors.Is(gone, fs.ErrNotExist) {
			return nil // meterctl, or the plugin, was faster
		}
	}
	if err != nil {
		return fmt.Errorf("publish %s/%s: %w", x.room, x.file, err)
	}
	crash("aside-published")
	s.mu.Lock()
	if x.room == rejectedDir {
		s.rejected += st.Size()
		s.resendable = true
		s.poke()
	}
	s.mu.Unlock()
	return errors.Join(s.syncDir(filepath.Dir(to)), s.syncDir(s.path(sealingDir)))
}

// whole lists those files in sealing/ whose origin is gone, for good.
func (s *Spool) whole(of func(sealed) bool) (found []sealed, err error) {
	err = s.eachSealed(func(x sealed) error {
		if !of(x) {
			return nil
		}
		gone, err := x.from.gone(s)
		if gone {
			found = append(found, x)
		}
		return err
	})
	return found, err
}
