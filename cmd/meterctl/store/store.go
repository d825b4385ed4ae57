// Package store reads a spool for meterctl: files, their records, and what is known of both beyond what package repair says.
package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/tally"
)

// InOpenLog ends the path of what a log in open/ holds of rejected records.
const InOpenLog = ":" + disk.Rejected

type (
	File    = repair.File
	Problem = repair.Problem
)

// Files lists what is in a spool.
func Files(dir string) ([]File, error) { return repair.Files(dir) }

// Records calls each with every record of a file, and tells what of it could not be read. gone: it was sealed or sent
// meanwhile.
func Records(dir string, f File, each func(line []byte) error) (n int, problems []Problem, gone bool, err error) {
	n, problems, err = repair.Records(dir, f, each)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, true, nil
	}
	return n, problems, false, err
}

// CompareFrames compares how many records each flush accepted into a log of open/ with what its lines stand for.
func CompareFrames(dir string, f File) (problems []Problem, err error) {
	id, err := uuid.Parse(strings.TrimSuffix(path.Base(f.Path), ".log"))
	if err != nil {
		return nil, nil // which reading it says
	}
	r, err := journal.ReadFile(disk.New(dir), id)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, journal.ErrVersion) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for r.Next() {
		lines, err := r.Lines()
		if r.Bucket == 0 || err != nil {
			continue
		}
		records := int64(0)
		for line := range bytes.Lines(lines) {
			records += tally.Records(line)
		}
		if records != int64(r.Summed) {
			problems = append(problems, Problem{File: f.Path, Offset: r.Offset, What: fmt.Sprintf("want lines that stand for the %d records of a flush, got %d", r.Summed, records)})
		}
	}
	return problems, r.Err()
}

func ProblemIn(f File, what string) Problem { return Problem{File: f.Path, What: what} }

// IsRescued tells damaged objects of which was sent what can be read.
func IsRescued(f File) bool { return strings.HasSuffix(f.Path, spool.RescuedSuffix) }

// ReasonOf is what Amberflo said of an object in failed/, "" if nothing is there.
func ReasonOf(dir string, f File) string {
	b, _ := os.ReadFile(filepath.Join(dir, disk.Failed, f.Key()) + spool.ReasonSuffix)
	return strings.TrimSpace(string(b))
}

// Began is when the first record of a file came, as well as it can be known.
func Began(f File) time.Time {
	if f.Dir == disk.Open {
		if id, err := uuid.Parse(strings.TrimSuffix(path.Base(f.Path), ".log")); err == nil && id.Version() == 7 {
			seconds, nanos := id.Time().UnixTime()
			return time.Unix(seconds, nanos)
		}
	}
	return f.Modified
}

// Counts tells a file that counts from one of sealing/ that does not yet: what that is made of is there still, among files.
func Counts(f File, files []File) bool {
	x, ok := sealing.ParsePending(path.Base(f.Path))
	if !ok || f.Dir != disk.Sealing {
		return true
	}
	is := x.From.Matcher()
	return !slices.ContainsFunc(files, func(of File) bool { return is(of.Path) })
}

// Audited is a line of the audit log.
type Audited struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Key     string    `json:"key"`
	NewKey  string    `json:"new_key,omitempty"`
	Why     string    `json:"why,omitempty"`
	Records int       `json:"records,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// ReadAuditLog gives its last lines.
func ReadAuditLog(dir string, most int) (list []Audited) {
	f, err := os.Open(filepath.Join(dir, spool.AuditLog))
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a Audited
		if json.Unmarshal(lines.Bytes(), &a) == nil {
			if list = append(list, a); len(list) > 4*most {
				list = slices.Clone(list[len(list)-most:])
			}
		}
	}
	return list[max(0, len(list)-most):]
}

// FailedObjects are the keys of those that Amberflo did not take, the longest there first.
func FailedObjects(dir string) (keys []string, err error) {
	objects, err := repair.Failed(dir)
	for _, obj := range objects {
		keys = append(keys, obj.Key)
	}
	return keys, err
}

// RejectsFrom are the files that repair.Retry would take.
func RejectsFrom(files []File, since string) (list []File) {
	for _, f := range files {
		if f.Dir == disk.Rejected && f.HasRecords() && !strings.HasSuffix(f.Path, InOpenLog) && strings.TrimPrefix(f.Path, disk.Rejected+"/") >= since {
			list = append(list, f)
		}
	}
	return list
}

// SizeOf adds up files.
func SizeOf(files []File) (bytes int64) {
	for _, f := range files {
		bytes += f.Bytes
	}
	return bytes
}

// In are the files of one directory.
func In(files []File, name string) (list []File) {
	for _, f := range files {
		if f.Dir == name {
			list = append(list, f)
		}
	}
	return list
}

// Found is a problem, in JSON.
type Found struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

func (p Found) String() string {
	if p.Offset == 0 {
		return p.File + ": " + p.What
	}
	return Problem(p).String()
}
