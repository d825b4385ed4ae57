package repair

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
)

// Retry calls again for each line of rejected/, the oldest first, leaving out the days before since (2006-01-02). The lines
// that again returns, meter records as a flush has them, go into new objects of o; with keep, the rejected line stays. It
// returns the number of objects. A running plugin takes those up within seconds, or else the next start does.
//
// It is a seal like that of a segment: a file of rejected/ is the origin, what maps goes into objects, what stays into a new
// file of the same day, and removing the origin is the commit.
func Retry(o spool.Options, since string, again func(line []byte) (records []byte, keep bool)) (objects int, err error) {
	d := cmp.Or(o.Disk, disk.New(o.Dir))
	if err := asOwner(d); err != nil {
		return 0, err
	}
	lock, err := d.LockFor(disk.Rejected, "maps rejected records again")
	if err != nil {
		return 0, fmt.Errorf("retry rejected records: %w", err)
	}
	defer lock.Close()
	for _, step := range []func(*disk.Dir) error{sealing.UndoRetries, sealing.PublishRejects, takeOverDays} {
		if err := step(d); err != nil {
			return 0, fmt.Errorf("bring rejected/ to order: %w", err)
		}
	}
	files, err := rejectsSince(d, since)
	if err != nil {
		return 0, err
	}
	r := &retry{maker: object.Maker{Options: o.Object, Dir: d}, maxBytes: o.MaxBytes, again: again}
	for _, id := range files {
		n, err := r.file(id)
		objects += n
		if err != nil {
			return objects, fmt.Errorf("retry %s/%s: %w", disk.Rejected, sealing.RejectsFile(id), err)
		}
	}
	return objects, nil
}

// rejectsSince lists the files of rejected/ from that day on, the oldest first.
func rejectsSince(d *disk.Dir, day string) (files []uuid.UUID, err error) {
	err = disk.Walk(d.Path(disk.Rejected), func(file string, st fs.FileInfo) {
		id, err := uuid.Parse(strings.TrimSuffix(st.Name(), ".ndjson"))
		if err == nil && file == sealing.RejectsFile(id) && file >= day && st.Mode().IsRegular() {
			files = append(files, id)
		}
	})
	slices.SortFunc(files, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return files, err
}

// takeOverDays gives rejected/<day>.ndjson, to which version 2 appended what it rejected in a day, a name as the files of today
// have.
func takeOverDays(d *disk.Dir) error {
	entries, err := os.ReadDir(d.Path(disk.Rejected))
	for _, e := range entries {
		day, notDay := time.Parse(time.DateOnly+".ndjson", e.Name())
		if notDay != nil || !e.Type().IsRegular() || err != nil {
			continue
		}
		if err = takeOverDay(d, disk.Rejected+"/"+e.Name(), day); err != nil {
			err = fmt.Errorf("take over %s/%s: %w", disk.Rejected, e.Name(), err)
		}
	}
	return err
}

func takeOverDay(d *disk.Dir, file string, day time.Time) error {
	// A plugin of version 2 that still runs appends to the file that has that name, and locks it meanwhile.
	lock, err := d.LockFor(file, "takes it over")
	if err != nil {
		return fmt.Errorf("want it not to be written to: %w", err)
	}
	defer lock.Close()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	to := d.Path(disk.Rejected, sealing.RejectsFile(journal.WithTime(id, day)))
	if err := d.Move(d.Path(file), to); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(to), d.Path(disk.Rejected))
}

type retry struct {
	maker    object.Maker
	maxBytes int64
	again    func([]byte) ([]byte, bool)
}

func (r *retry) file(of uuid.UUID) (objects int, err error) {
	d, name := r.maker.Dir, sealing.RejectsFile(of)
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	f, err := os.Open(d.Path(disk.Rejected, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := sealing.NewWriter(&r.maker, sealing.Origin(sealing.RemapOf+of.String()), id, time.Now())
	w.Day = time.Unix(of.Time().UnixTime())
	w.Objects.MaxBytes = r.maxBytes
	defer w.Abort()
	changed, err := r.read(f, w)
	if err == nil && changed {
		err = w.Finish() // with it, for good, the name that the file itself once had in sealing/
	}
	if err == nil && changed {
		disk.Crash("retried")
		err = d.Remove(f.Name())
	}
	if err != nil || !changed {
		return 0, errors.Join(err, w.Undo())
	}
	disk.Crash("retry-counts")
	if err = d.SyncDir(filepath.Dir(f.Name())); err == nil {
		err = sealing.PublishRejects(d) // what stays takes the place of the file
	}
	if err == nil {
		d.RemoveEmptyAbove(disk.Rejected, name)
	}
	return w.Objects.Made, err
}

func (r *retry) read(f io.Reader, w *sealing.Writer) (changed bool, err error) {
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, rerr := in.ReadBytes('\n')
		if len(line) > 0 {
			line = bytes.TrimSuffix(line, newline)
			records, keep := r.again(line)
			if err = w.Objects.Add(context.Background(), records); err == nil && keep {
				err = w.Reject(append(line, '\n'))
			}
			changed = changed || !keep
		}
		if err == nil {
			err = rerr
		}
		if errors.Is(err, io.EOF) {
			return changed, nil
		}
		if err != nil {
			return changed, err
		}
	}
}
