// Package repair is what meterctl does to a store_dir: look at it, check it, send failed objects again or give them up, map
// rejected records again, rescue damaged objects, split those that are too large. The plugin does not link it.
//
//   - Looking only reads and needs no lock: beside a running plugin, files may be gone by the time they are read.
//   - Nothing is changed in place. New objects are sealed as those of a segment are (sealing.Writer): what they are made of goes
//     when they are durable, and that is the commit. Whoever comes next, a start or another repair, undoes what was cut off.
//   - What is done to a failed or damaged object is written to the audit log before it is done.
//   - All of it works beside the process that has the spool, but for Split, which takes its lock.
//
// There are no locks in memory. Between processes: LOCK, then rejected/ for Retry or damaged/ for Rescue and Split.
package repair

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
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

// File is one file of a spool.
type File struct {
	Dir      string // one of disk.Dirs
	Path     string // below the spool's directory
	Bytes    int64
	Modified time.Time
}

// HasRecords tells a file of records from what says something of them, and from what is being written.
func (f File) HasRecords() bool {
	return !spool.IsNote(f.Path) && !strings.HasPrefix(path.Base(f.Path), ".")
}

// Place gives the directory that the file is in or will be in, and its path there.
func (f File) Place() (dir, file string) {
	if f.Dir == disk.Sealing {
		x, _ := sealing.ParsePending(path.Base(f.Path))
		return x.Dir, x.File
	}
	if file, ok := strings.CutPrefix(f.Path, disk.DamagedObjects+"/"); ok {
		return disk.DamagedObjects, file
	}
	return f.Dir, strings.TrimPrefix(f.Path, f.Dir+"/")
}

// Key is the key of an object's file, or else the path below its directory.
func (f File) Key() string {
	_, file := f.Place()
	key, _ := object.ParseFile(file)
	return key
}

// rejectsOf ends what stands for the rejects in a segment, as if they were a file of rejected/: Path is that of the segment,
// and this.
const rejectsOf = ":" + disk.Rejected

// Files lists what is in a spool. What segments hold of rejects stands there as files of rejected/.
func Files(dir string) ([]File, error) {
	if _, err := os.Stat(filepath.Join(dir, disk.Open)); err != nil {
		return nil, fmt.Errorf("want a store_dir of this plugin: %w", err)
	}
	var files, segments []File
	for _, in := range disk.Dirs {
		err := disk.Walk(filepath.Join(dir, in), func(path string, st fs.FileInfo) {
			f := File{in, in + "/" + path, st.Size(), st.ModTime()}
			files = append(files, f)
			if in == disk.Open {
				segments = append(segments, f)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for _, f := range segments {
		f.Dir, f.Path, f.Bytes = disk.Rejected, f.Path+rejectsOf, 0
		if _, _, err := Records(dir, f, func(line []byte) error { f.Bytes += int64(len(line)) + 1; return nil }); err == nil && f.Bytes > 0 {
			files = append(files, f)
		}
	}
	return files, nil
}

// Problem is something in a spool that is not as it should be.
type Problem = object.Problem

// Records calls each with every record of a file as it will be, or was, delivered: a line of JSON, valid during the call; nil
// calls nothing. Of a segment these are the meter records. What cannot be read is returned, and does not end the reading of
// what is around it: of a damaged object these are the records of its whole blocks (see salvage.go). n is the same whatever
// each is. Files in damaged/ hold none, but for objects.
func Records(dir string, f File, each func(line []byte) error) (n int, problems []Problem, err error) {
	segment, rejects := strings.CutSuffix(f.Path, rejectsOf)
	switch {
	case f.Dir == disk.Open:
		return segmentRecords(dir, f.Path, false, each)
	case rejects: // its problems are told of the segment
		n, _, err = segmentRecords(dir, segment, true, each)
		return n, nil, err
	}
	path := filepath.Join(dir, f.Path)
	switch in, file := f.Place(); {
	case !f.HasRecords(), in == disk.DamagedObjects && strings.HasSuffix(file, spool.RescuedSuffix):
	case slices.Contains([]string{disk.Outbox, disk.Sent, disk.Failed, disk.DamagedObjects}, in):
		n, problems, err = objectRecords(path, f, each)
		if n == 0 && err == nil && len(problems) == 0 {
			problems = append(problems, Problem{File: f.Path, What: "want at least one record, got none"})
		}
	case in == disk.Rejected:
		var file *os.File
		if file, err = os.Open(path); err != nil {
			return 0, nil, err
		}
		defer file.Close()
		if each == nil { // only counted, they would not be looked at
			each = func([]byte) error { return nil }
		}
		n, problems, err = wholeRecords(file, f, each)
	}
	return n, problems, err
}

func wholeRecords(in io.Reader, f File, each func([]byte) error) (n int, problems []Problem, err error) {
	n, problems, err = object.Records(in, each)
	for i := range problems {
		problems[i].File = f.Path
	}
	return n, problems, err
}

// objectRecords reads an object that is whole, or else what is whole of it.
func objectRecords(path string, f File, each func([]byte) error) (n int, problems []Problem, err error) {
	_, place := f.Place()
	_, sum := object.ParseFile(place)
	body, err := object.OpenBody(path, sum, object.Pace{})
	if err == nil {
		defer body.Close()
		if _, err = io.Copy(io.Discard, body); err == nil {
			_, err = body.Seek(0, io.SeekStart)
		}
	}
	if err == nil {
		return wholeRecords(body, f, each)
	}
	if !errors.Is(err, object.ErrDamaged) {
		return 0, nil, err
	}
	problems = []Problem{{File: f.Path, What: "want the bytes that were sealed: " + err.Error()}}
	found, err := salvage(path)
	if err != nil {
		return 0, nil, err
	}
	return found.records, append(problems, found.problems(f.Path)...), found.each(each)
}

func segmentRecords(dir, file string, rejects bool, each func([]byte) error) (n int, problems []Problem, err error) {
	id, err := uuid.Parse(strings.TrimSuffix(path.Base(file), ".log"))
	if err != nil {
		return 0, []Problem{{File: file, What: "not a file of this plugin"}}, nil
	}
	d := disk.New(dir)
	r, err := journal.ReadFile(d, id)
	if errors.Is(err, journal.ErrVersion) {
		return 0, []Problem{{File: file, What: err.Error()}}, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer r.Close()
	for r.Next() {
		lines := r.Rejects
		if !rejects {
			if lines, err = r.Lines(); err != nil {
				problems = append(problems, Problem{File: file, Offset: r.Offset, What: err.Error()})
				continue
			}
		}
		for line := range bytes.Lines(lines) {
			n++
			if each == nil {
				continue
			}
			if err := each(bytes.TrimSuffix(line, newline)); err != nil {
				return n, nil, err
			}
		}
	}
	for _, x := range r.Damaged {
		what := "%d bytes that are no whole frame"
		if x.Torn {
			what = "%d bytes of a write that is under way or was cut off"
			if st, err := os.Stat(d.Path(file)); err != nil || time.Since(st.ModTime()) < 2*time.Second {
				continue // a running plugin writes
			}
		}
		problems = append(problems, Problem{File: file, Offset: x.Offset, What: fmt.Sprintf(what, x.Length)})
	}
	return n, problems, r.Err()
}

var newline = []byte{'\n'}
