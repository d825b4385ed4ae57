package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// StatusDir is the directory of store_dir with a file for each output: its Status. The file is locked while the output runs.
	StatusDir = "status"
	// StatusEvery is how often one is written at most.
	StatusEvery = 5 * time.Second
)

// Status is what an output says of itself for somebody to look at. The plugin never reads it, anybody may delete it, and nothing
// depends on its being written. It holds what the log and the metrics do, and so no secret.
type Status struct {
	Output  string    `json:"output"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Written time.Time `json:"written"` // it is written again when anything else changes
	Stopped bool      `json:"stopped"` // in order; the last that a process writes
	// Counters are those of Metrics; name{value} where there is a label, if it is not 0. Those that outputs share stand with one.
	Counters    map[string]float64 `json:"counters"`
	LastUpload  *time.Time         `json:"last_upload"`
	LastFailure *UploadFailure     `json:"last_failure"`
}

// UploadFailure is an attempt to upload that failed.
type UploadFailure struct {
	Kind     string     `json:"kind"`
	Error    string     `json:"error"`           // as in the log
	NeedsYou bool       `json:"needs_you"`       // it does not pass by itself
	Key      string     `json:"key,omitempty"`   // of the one object that it is about; none where it concerns all
	Time     time.Time  `json:"time"`            // of the attempt
	Failures int        `json:"failures_in_row"` // of that object, or of all
	Next     time.Time  `json:"next_attempt"`    // not before
	Ended    *time.Time `json:"ended"`           // null while it lasts
}

// status is how the output is now.
func (p *Instance) status() *Status {
	s := &Status{Output: shown(p.name), Version: Version, PID: os.Getpid(), Started: p.file.since, Counters: make(map[string]float64)}
	for m, v := range labelled(p.values()) {
		if m.Counter && (m.Label == "" || v != 0) && (!m.shared || p.number == 0) {
			s.Counters[m.name] = v
		}
	}
	uploads := p.delivery.ship.Stats()
	s.LastUpload = optional(uploads.LastSuccess)
	if f := uploads.LastFailure; !f.At.IsZero() {
		s.LastFailure = &UploadFailure{Kind: f.Kind.String(), Error: errorText(f.Err.Error()), NeedsYou: f.Kind.NeedsYou(), Key: shown(f.Key), Time: f.At.UTC(), Failures: f.InARow,
			Next: f.Next.UTC(), Ended: optional(f.Ended)}
	}
	return s
}

// optional is nil for no time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// keepStatus writes the output's status when it has changed, until ctx ends.
func (p *Instance) keepStatus(ctx context.Context) {
	tick := time.NewTicker(StatusEvery)
	defer tick.Stop()
	for {
		p.writeStatus(p.status())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// endStatus writes it for the last time. keepStatus has ended, and store_dir is still this process's.
func (p *Instance) endStatus() {
	defer p.delivery.caught("writing the status")
	defer p.file.close()
	s := p.status()
	s.Stopped = true
	p.writeStatus(s)
}

func (p *Instance) writeStatus(s *Status) {
	err := p.file.write(s)
	if err != nil && !p.file.told {
		p.file.told = true
		p.log.Info("the file in status/ cannot be written: nothing else depends on it, it will be tried again in silence", "err", err)
	}
}

// statusFile is the file of one output. It is used by one goroutine at a time.
type statusFile struct {
	dir, path, temp string
	since           time.Time // the output runs

	said []byte   // what it says, but for the time
	held *os.File // the file that is there: the kernel lets go of its lock when the process ends, however it ends
	told bool     // it could not be written
}

// newStatusFile makes that of an output, which has a number of its own among those of store_dir.
func newStatusFile(storeDir, output string, number int) *statusFile {
	return &statusFile{dir: storeDir, path: StatusDir + "/" + url.PathEscape(output) + ".json",
		temp: fmt.Sprintf("%s/.%d.tmp", StatusDir, number), since: time.Now().UTC()}
}

// write makes the file say s if it does not yet. It is not synced: after a power cut, an older one is there, or none.
func (f *statusFile) write(s *Status) error {
	s.Written = time.Time{}
	says, err := json.Marshal(s)
	if err != nil || bytes.Equal(says, f.said) {
		return err
	}
	s.Written = time.Now().UTC()
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	held, err := f.replace(append(text, '\n'))
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	f.close()
	f.held, f.said = held, says
	return nil
}

// replace gives the new file, locked. Links of others lead nowhere outside of store_dir.
func (f *statusFile) replace(text []byte) (held *os.File, err error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := root.Mkdir(StatusDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	held, err = root.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = held.Write(text); err == nil {
		err = unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = root.Rename(f.temp, f.path)
	}
	if err != nil {
		return nil, errors.Join(err, held.Close(), root.Remove(f.temp))
	}
	return held, nil
}

// close lets go of the lock: whoever looks sees that the output does not run.
func (f *statusFile) close() {
	if f.held != nil {
		_ = f.held.Close() // nothing is written to it any more
		f.held = nil
	}
}
