package spool

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/flate"
)

// What takes the place of an object is made like a seal: the object is taken aside under a name that is the origin of what is
// made of it, and when that name goes, what was made counts. Until then a start, or the next repair, puts the object back.
//
//	damaged/.rescue-<id>=<file>   from damaged/outbox/, and goes to <file>.rescued there
//	damaged/.split-<id>=<file>    from outbox/, and goes
const (
	rescueOf = "rescue-"
	splitOf  = "split-"
)

// Rescue delivers what can be read of an object in damaged/outbox/, under fresh keys, and keeps the damaged object with
// RescuedSuffix. The records keep their unique ids. Where nobody can say which part is damaged it answers an error, unless all
// is asked for: then a record of what goes out is wrong. It returns the number of records, and works beside the process that
// has the spool.
func Rescue(dir, key string, all bool) (records int, err error) {
	s := offline(dir)
	key, _ = parseFile(key)
	if err := asOwner(dir); err != nil {
		return 0, err
	}
	room, err := s.lockRepairs()
	if err != nil {
		return 0, err
	}
	defer room.Close()
	obj, err := s.find(asideDir, key)
	if err != nil {
		return 0, fmt.Errorf("rescue: want the key of an object in %s/, got %q: %w", asideDir, key, err)
	}
	found, err := salvage(s.path(asideDir, obj.file()))
	switch {
	case err != nil:
		return 0, fmt.Errorf("rescue %s: %w", key, err)
	case found.records == 0:
		return 0, fmt.Errorf("rescue %s: no whole record is left in it", key)
	case !found.located() && !all:
		return 0, fmt.Errorf("rescue %s: all its %d records can be read, at least one of them is wrong, and nobody can say which; --all sends them as they are", key, found.records)
	}
	lost := make([]string, len(found.lost))
	for i, l := range found.lost {
		lost[i] = fmt.Sprintf("bytes %d to %d are lost", l.from, l.to)
	}
	r := &repair{s: s, room: asideDir, obj: obj}
	what := entry{Action: "rescue", Key: key, Why: strings.Join(lost, ", "), Records: found.records}
	err = r.run(rescueOf, what, func(do func([]byte) error) error { return found.each(do) }, func(taken string) error {
		return s.rename(taken, s.path(asideDir, obj.file())+RescuedSuffix)
	})
	return found.records, err
}

// Split makes several objects of one that waits, under fresh keys, none of them of more than that many bytes of text if its
// records allow it; 0 is half of what it has. It needs the spool for itself: the object may be on its way. It returns the number
// of objects.
func Split(dir, key string, most int64) (objects int, err error) {
	return offline(dir).split(key, most)
}

func (s *Spool) split(key string, most int64) (objects int, err error) {
	dir := s.opt.Dir
	key, _ = parseFile(key)
	if err := asOwner(dir); err != nil {
		return 0, err
	}
	if err := s.takeLock(); err != nil {
		return 0, fmt.Errorf("split: want Fluent Bit to be stopped: %w", err)
	}
	defer func() { err = errors.Join(err, s.lock.Close(), s.logs.Close()) }()
	room, err := s.lockRepairs()
	if err != nil {
		return 0, err
	}
	defer room.Close()
	obj, err := s.find(outboxDir, key)
	if err != nil {
		return 0, fmt.Errorf("split: want the key of an object in %s/, got %q: %w", outboxDir, key, err)
	}
	text := int64(0)
	records, problems, err := Records(dir, obj.in(outboxDir), func(line []byte) error { text += int64(len(line)) + 1; return nil })
	switch {
	case err != nil:
		return 0, fmt.Errorf("split %s: %w", key, err)
	case len(problems) > 0:
		return 0, fmt.Errorf("split %s: %v", key, problems[0])
	case records < 2:
		return 0, fmt.Errorf("split %s: want at least 2 records in it, got %d", key, records)
	}
	if most <= 0 {
		most = (text + 1) / 2
	}
	r := &repair{s: s, room: outboxDir, obj: obj, most: most}
	err = r.run(splitOf, entry{Action: "split", Key: key, Records: records}, func(do func([]byte) error) error {
		f, err := os.Open(r.taken)
		if err != nil {
			return err
		}
		defer f.Close()
		n, problems, err := objectRecords(f, obj.in(outboxDir), do)
		if err == nil && (n != records || len(problems) > 0) {
			err = fmt.Errorf("want %d records once more, got %d %v", records, n, problems)
		}
		return err
	}, s.remove)
	return r.made, err
}

// repair makes new objects of one.
type repair struct {
	s    *Spool
	room string // that the object is in
	obj  Object
	most int64 // bytes of text in a new object; 0: no bound

	taken string // where the object is meanwhile
	made  int
}

// run makes new objects of the lines that each gives. It ends with done, which takes away the name that they are made of.
func (r *repair) run(kind string, what entry, each func(func([]byte) error) error, done func(taken string) error) error {
	s := r.s
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if what.NewKey, err = freshKey(r.obj.Key); err != nil {
		return err
	}
	place := s.path(r.room, r.obj.file())
	if s.opt, err = formOf(s.opt.Dir, place, what.NewKey); err != nil {
		return err
	}
	from := origin(kind + hex.EncodeToString(id[:]))
	r.taken = s.path(damagedDir, "."+sealed{from, outboxDir, r.obj.file()}.name())
	if err := s.rename(place, r.taken); err != nil {
		return err
	}
	objects := &series{s: s, from: from, id: id, opened: time.Now(), most: r.most}
	defer objects.abort()
	err = errors.Join(s.syncDir(s.path(damagedDir)), s.syncDir(filepath.Dir(place)))
	if err == nil {
		err = each(func(line []byte) error {
			return objects.add(context.Background(), append(append([]byte{}, line...), '\n'))
		})
	}
	if err == nil {
		err = objects.finish()
	}
	if err == nil {
		err = s.syncDir(s.path(sealingDir))
	}
	if err == nil {
		err = s.note(what)
	}
	if err == nil {
		err = done(r.taken)
	}
	if err != nil {
		objects.abort()
		return errors.Join(fmt.Errorf("%s %s: %w", what.Action, r.obj.Key, err), s.undoRepairs())
	}
	r.made = objects.made
	return errors.Join(s.syncDir(s.path(damagedDir)), s.syncDir(filepath.Dir(place)))
}

// formOf gives options that make objects like the one at path, the first of them with that key.
func formOf(dir, path, key string) (Options, error) {
	o := Options{Dir: dir, Key: func(Sealed) string {
		this := key
		key, _ = freshKey(key)
		return this
	}}
	f, err := os.Open(path)
	if err != nil {
		return o, err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return o, err
	}
	head = head[:n]
	if isGzip(head) {
		o.GzipLevel = 1
		text := make([]byte, 1)
		if _, err := flate.NewReader(bytes.NewReader(head[min(len(gzipHeader), n):])).Read(text); err == nil {
			head = text
		}
	}
	o.JSONArray = head[0] == '['
	return o, nil
}

// lockRepairs keeps other repairs out, and undoes those that were cut off.
func (s *Spool) lockRepairs() (*os.File, error) {
	room, err := s.lockRoom(damagedDir, "repairs")
	if err != nil {
		return nil, err
	}
	if err := s.undoRepairs(); err != nil {
		_ = room.Close()
		return nil, fmt.Errorf("undo a repair that was cut off: %w", err)
	}
	return room, nil
}

// named are the files of a room, by the beginning of their names.
func (s *Spool) named(room, prefix string) (names []string, err error) {
	entries, err := os.ReadDir(s.path(room))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// undoRepairs removes what was made of objects that are still there, and puts those back.
func (s *Spool) undoRepairs() error {
	for kind, room := range map[string]string{rescueOf: asideDir, splitOf: outboxDir} {
		taken, err := s.named(damagedDir, "."+kind)
		if err != nil {
			return err
		}
		for _, name := range taken {
			x, ok := parseSealed(strings.TrimPrefix(name, "."))
			if !ok {
				continue
			}
			err := s.unseal(x.from)
			if err == nil {
				err = s.syncDir(s.path(sealingDir))
			}
			if err == nil {
				err = s.mkdirAll(filepath.Dir(s.path(room, x.file)))
			}
			if err == nil {
				err = s.rename(s.path(damagedDir, name), s.path(room, x.file))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
