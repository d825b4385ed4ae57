package repair

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

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
)

// Rescue delivers what can be read of an object in damaged/outbox/, under fresh keys, and keeps the damaged object with
// spool.RescuedSuffix. The records keep their unique ids. Where nobody can say which part is damaged it answers an error,
// unless all is asked for: then a record of what goes out is wrong. It returns the number of records.
func Rescue(dir, key string, all bool) (records int, err error) {
	d := disk.New(dir)
	if err := asOwner(d); err != nil {
		return 0, err
	}
	lock, err := lockRepairs(d)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	obj, err := spool.Find(d, disk.DamagedObjects, key)
	if err != nil {
		return 0, fmt.Errorf("rescue: %w", err)
	}
	key = obj.Key
	found, err := salvage(d.Path(disk.DamagedObjects, obj.File()))
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
	r := &remake{
		dir: d, from: disk.DamagedObjects, obj: obj, each: func(_ string, do func([]byte) error) error { return found.each(do) },
		end: func(taken string) error {
			return d.Rename(taken, d.Path(disk.DamagedObjects, obj.File())+spool.RescuedSuffix)
		},
	}
	_, err = r.run(sealing.RescueOf, entry{Action: "rescue", Key: key, Why: strings.Join(lost, ", "), Records: found.records})
	return found.records, err
}

// Split makes several objects of one that waits, under fresh keys, none of them of more than that many bytes before compression
// if its records allow it; 0 is half of what it has. It needs the spool for itself: the object may be on its way. It returns
// the number of objects.
func Split(dir, key string, most int64) (objects int, err error) {
	return split(disk.New(dir), key, most)
}

func split(d *disk.Dir, key string, most int64) (objects int, err error) {
	if err := asOwner(d); err != nil {
		return 0, err
	}
	if err := d.Lock(); err != nil {
		return 0, fmt.Errorf("split: want Fluent Bit to be stopped: %w", err)
	}
	defer func() { err = errors.Join(err, d.Unlock()) }()
	lock, err := lockRepairs(d)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	obj, err := spool.Find(d, disk.Outbox, key)
	if err != nil {
		return 0, fmt.Errorf("split: %w", err)
	}
	key = obj.Key
	size := int64(0)
	records, problems, err := Records(d.Root, fileOf(disk.Outbox, obj), func(line []byte) error { size += int64(len(line)) + 1; return nil })
	switch {
	case err != nil:
		return 0, fmt.Errorf("split %s: %w", key, err)
	case len(problems) > 0:
		return 0, fmt.Errorf("split %s: %v", key, problems[0])
	case records < 2:
		return 0, fmt.Errorf("split %s: want at least 2 records in it, got %d", key, records)
	}
	if most <= 0 {
		most = (size + 1) / 2
	}
	r := &remake{dir: d, from: disk.Outbox, obj: obj, most: most, end: d.Remove, each: func(taken string, do func([]byte) error) error {
		n, problems, err := objectRecords(taken, fileOf(disk.Outbox, obj), do)
		if err == nil && (n != records || len(problems) > 0) {
			err = fmt.Errorf("want %d records once more, got %d %v", records, n, problems)
		}
		return err
	}}
	return r.run(sealing.SplitOf, entry{Action: "split", Key: key, Records: records})
}

// remake makes new objects of one. It is made like a seal: the object is taken aside under a name that is the origin of what is
// made of it, and when that name goes, what was made counts.
type remake struct {
	dir  *disk.Dir
	from string // the directory that the object is in
	obj  spool.Object
	most int64 // bytes before compression in a new object; 0: no bound
	// each calls do with the lines of the new objects; end takes away the name that they are made of.
	each func(taken string, do func(line []byte) error) error
	end  func(taken string) error
}

func (r *remake) run(kind string, what entry) (made int, err error) {
	d := r.dir
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	what.NewKey = freshKey(r.obj.Key, id)
	place := d.Path(r.from, r.obj.File())
	form, err := formOf(place, what.NewKey)
	if err != nil {
		return 0, err
	}
	origin := sealing.Origin(kind + hex.EncodeToString(id[:]))
	taken := d.Path(disk.Damaged, "."+sealing.Pending{From: origin, Dir: disk.Outbox, File: r.obj.File()}.Name())
	if err := d.Rename(place, taken); err != nil {
		return 0, err
	}
	w := sealing.NewWriter(&object.Maker{Options: form, Dir: d}, origin, id, time.Now())
	w.Objects.MaxBytes = r.most
	defer w.Abort()
	dirs := []string{d.Path(disk.Damaged), filepath.Dir(place)}
	if err = d.SyncDir(dirs...); err == nil {
		err = r.each(taken, func(line []byte) error {
			return w.Objects.Add(context.Background(), append(append([]byte{}, line...), '\n'))
		})
	}
	if err == nil {
		err = w.Finish()
	}
	if err == nil {
		err = note(d, what)
	}
	if err == nil {
		err = r.end(taken)
	}
	if err != nil {
		w.Abort()
		return 0, errors.Join(fmt.Errorf("%s %s: %w", what.Action, r.obj.Key, err), sealing.UndoRepairs(d))
	}
	return w.Objects.Made, d.SyncDir(dirs...)
}

// formOf gives options that make objects like the one at path, the first of them with that key.
func formOf(path, key string) (object.Options, error) {
	o := object.Options{Key: func(object.Sealed) string {
		this := key
		key = freshKey(key, uuid.Must(uuid.NewV7()))
		return this
	}}
	f, err := os.Open(path)
	if err != nil {
		return o, err
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if n == 0 {
		return o, err
	}
	head = head[:n]
	if object.IsGzip(head) {
		o.GzipLevel = 1
		first := make([]byte, 1)
		if _, err := flate.NewReader(bytes.NewReader(head[min(len(object.GzipHeader), n):])).Read(first); err == nil {
			head = first
		}
	}
	o.JSONArray = head[0] == '['
	return o, nil
}

// lockRepairs keeps other repairs out, and undoes those that were cut off.
func lockRepairs(d *disk.Dir) (*os.File, error) {
	lock, err := d.LockFor(disk.Damaged, "repairs")
	if err != nil {
		return nil, err
	}
	if err := sealing.UndoRepairs(d); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("undo a repair that was cut off: %w", err)
	}
	return lock, nil
}
