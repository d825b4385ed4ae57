package main

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
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/tally"
)

// What this program asks of a spool; nothing else of it does, but for the tests.

// The directories of a spool.
const (
	openDir     = "open"
	sealingDir  = "sealing"
	outboxDir   = "outbox"
	sentDir     = "sent"
	failedDir   = "failed"
	rejectedDir = "rejected"
	damagedDir  = "damaged"
)

// auditLog is what was done by hand, a line of JSON each.
const auditLog = "failed/audit.ndjson"

// inOpenLog ends the path of what a log in open/ holds of rejected records.
const inOpenLog = ":" + rejectedDir

type (
	spoolFile    = repair.File
	spoolProblem = repair.Problem
)

// directories are those of a spool, in the order in which a record passes through them.
func directories() []string { return disk.Dirs }

// directoryOf is the one that a file is in.
func directoryOf(f spoolFile) string { return f.Dir }

// spoolFiles lists what is in a spool.
func spoolFiles(at *spoolPlace) ([]spoolFile, error) {
	files, err := repair.Files(at.dir)
	return files, at.explain(err)
}

// readRecords calls each with every record of a file, and tells what of it could not be read. gone: it was sealed or sent
// meanwhile.
func readRecords(dir string, f spoolFile, each func(line []byte) error) (n int, problems []spoolProblem, gone bool, err error) {
	n, problems, err = repair.Records(dir, f, each)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, true, nil
	}
	return n, problems, false, err
}

// compareFrames compares how many records each flush accepted into a log of open/ with what its lines stand for.
func compareFrames(dir string, f spoolFile) (problems []spoolProblem, err error) {
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
			problems = append(problems, spoolProblem{File: f.Path, Offset: r.Offset, What: fmt.Sprintf("want lines that stand for the %d records of a flush, got %d", r.Summed, records)})
		}
	}
	return problems, r.Err()
}

func problemIn(f spoolFile, what string) spoolProblem { return spoolProblem{File: f.Path, What: what} }

// isRescued tells damaged objects of which was sent what can be read.
func isRescued(f spoolFile) bool { return strings.HasSuffix(f.Path, spool.RescuedSuffix) }

// reasonOf is what Amberflo said of an object in failed/, "" if nothing is there.
func reasonOf(dir string, f spoolFile) string {
	b, _ := os.ReadFile(filepath.Join(dir, failedDir, f.Key()) + spool.ReasonSuffix)
	return strings.TrimSpace(string(b))
}

// began is when the first record of a file came, as well as it can be known.
func began(f spoolFile) time.Time {
	if f.Dir == openDir {
		if id, err := uuid.Parse(strings.TrimSuffix(path.Base(f.Path), ".log")); err == nil && id.Version() == 7 {
			seconds, nanos := id.Time().UnixTime()
			return time.Unix(seconds, nanos)
		}
	}
	return f.Modified
}

// countsTwice tells if what is in a file of sealing/ lies in a log as well, which is there still.
func countsTwice(f spoolFile, files []spoolFile) bool {
	if f.Dir != sealingDir {
		return false
	}
	origin, _, _ := strings.Cut(path.Base(f.Path), "=")
	origin, _, _ = strings.Cut(origin, "@")
	return slices.ContainsFunc(files, func(of spoolFile) bool { return of.Path == openDir+"/"+origin+".log" })
}

// audited is a line of the audit log.
type audited struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Key     string    `json:"key"`
	NewKey  string    `json:"new_key,omitempty"`
	Why     string    `json:"why,omitempty"`
	Records int       `json:"records,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// readAuditLog gives its last lines.
func readAuditLog(dir string, most int) (list []audited) {
	f, err := os.Open(filepath.Join(dir, auditLog))
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a audited
		if json.Unmarshal(lines.Bytes(), &a) == nil {
			if list = append(list, a); len(list) > 4*most {
				list = slices.Clone(list[len(list)-most:])
			}
		}
	}
	return list[max(0, len(list)-most):]
}

// failedObjects are the keys of those that Amberflo did not take, the longest there first.
func failedObjects(at *spoolPlace) (keys []string, err error) {
	objects, err := repair.Failed(at.dir)
	for _, obj := range objects {
		keys = append(keys, obj.Key)
	}
	return keys, at.explain(err)
}

// sendAgain hands an object of failed/ back for delivery, and gives its fresh key.
func sendAgain(dir, key string) (fresh string, err error) { return repair.Resend(dir, key) }

// giveUp deletes an object of failed/, and writes down why.
func giveUp(dir, key, why string) error { return repair.Drop(dir, key, why) }

// rescueObject sends what can be read of a damaged object.
func rescueObject(dir, key string, all bool) (records int, err error) {
	return repair.Rescue(dir, key, all)
}

// splitObject makes several objects of one that waits.
func splitObject(dir, key string, most int64) (objects int, err error) {
	return repair.Split(dir, key, most)
}

// retryRejects maps what is in rejected/ again.
func retryRejects(o spool.Options, since string, again func(line []byte) (records []byte, keep bool)) (objects int, err error) {
	return repair.Retry(o, since, again)
}

// rejectsFrom are the files that retryRejects would take.
func rejectsFrom(files []spoolFile, since string) (list []spoolFile) {
	for _, f := range files {
		if f.Dir == rejectedDir && f.HasRecords() && !strings.HasSuffix(f.Path, inOpenLog) && strings.TrimPrefix(f.Path, rejectedDir+"/") >= since {
			list = append(list, f)
		}
	}
	return list
}

// sizeOf adds up files.
func sizeOf(files []spoolFile) (bytes int64) {
	for _, f := range files {
		bytes += f.Bytes
	}
	return bytes
}
