package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// What is done to refused objects by hand is written down here, a line of JSON each.
const journal = "failed/journal.ndjson"

// Refused lists the objects in failed/ of a spool, the longest there first. Like the functions below it
// needs no lock, and works beside the process that has it.
func Refused(dir string) ([]Object, error) {
	s := offline(dir)
	all, err := s.listObjects(failedDir)
	return slices.DeleteFunc(all, func(o Object) bool { return failedDir+"/"+o.Key == journal }), err
}

// Resend hands a refused object, named by its key or its file, back for delivery under a fresh key, which it returns. Its bytes stay as
// they are, and so do the unique ids in them: what Amberflo had taken of it is not billed again. A running
// plugin takes it up within seconds, and otherwise the next start.
func Resend(dir, key string) (string, error) {
	s := offline(dir)
	key, _ = parseFile(key)
	if err := asOwner(dir); err != nil {
		return "", err
	}
	fresh, err := freshKey(key)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	obj, err := s.refused(key)
	if err != nil {
		return "", fmt.Errorf("resend: %w", err)
	}
	// Written down before, so that what is in the journal may not have happened, but not the reverse.
	if err := s.note(entry{Action: "resend", Key: key, NewKey: fresh}); err != nil {
		return "", err
	}
	// From sealing/, where no log of that id exists, an object goes to the outbox.
	if err := os.Rename(s.path(failedDir, obj.file()), s.path(sealingDir, sealed{origin(id.String()), outboxDir, fileOf(fresh, obj.sum)}.name())); err != nil {
		return "", fmt.Errorf("resend %s: %w", key, err)
	}
	if err := s.syncDir(s.path(sealingDir)); err != nil {
		return "", fmt.Errorf("resend %s: %w", key, err)
	}
	return fresh, s.removeReason(key)
}

// Drop deletes a refused object for good. It is the only way to lose one, and is written down with why.
func Drop(dir, key, why string) error {
	if strings.TrimSpace(why) == "" {
		return errors.New("drop: want a reason for whoever asks later, got none")
	}
	s := offline(dir)
	key, _ = parseFile(key)
	obj, err := s.refused(key)
	if err := errors.Join(asOwner(dir), err); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	n, problems, err := Records(dir, obj.in(failedDir), nil)
	if err != nil {
		return fmt.Errorf("drop %s: %w", key, err)
	}
	if len(problems) > 0 {
		why = fmt.Sprintf("%s (%v)", why, problems[0])
	}
	if err := s.note(entry{Action: "drop", Key: key, Why: why, Records: n}); err != nil {
		return err
	}
	if err := os.Remove(s.path(failedDir, obj.file())); err != nil {
		return fmt.Errorf("drop %s: %w", key, err)
	}
	return s.removeReason(key)
}

// refused gives the object of that key in failed/, and not a folder of them or what else lies there.
func (s *Spool) refused(key string) (Object, error) {
	err := errors.New("a file that is no object")
	if filepath.IsLocal(key) && failedDir+"/"+key != journal && !strings.HasSuffix(key, ReasonSuffix) {
		var obj Object
		if obj, err = s.find(failedDir, key); err == nil {
			return obj, nil
		}
	}
	return Object{}, fmt.Errorf("want the key of an object in %s/, got %q: %w", failedDir, key, err)
}

// asOwner makes sure that what is written in dir can be read by the plugin: sudo would make files that are root's.
func asOwner(dir string) error {
	st, err := os.Stat(filepath.Join(dir, openDir))
	if err != nil {
		return fmt.Errorf("want a store_dir of this plugin: %w", err)
	}
	theirs := ownerOf(st)
	if mine, err := madeIn(filepath.Join(dir, sealingDir)); err != nil || mine != theirs {
		return errors.Join(fmt.Errorf("want to run as the user of Fluent Bit, who owns %s, got user %d: sudo -u '#%d' meterctl …", dir, os.Geteuid(), theirs), err)
	}
	return nil
}

// offline is a spool for functions that work without the lock.
func offline(dir string) *Spool {
	return newSpool(Options{Dir: dir})
}

type entry struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Key     string    `json:"key"`
	NewKey  string    `json:"new_key,omitempty"`
	Why     string    `json:"why,omitempty"`
	Records int       `json:"records,omitempty"`
	Reason  string    `json:"reason"` // Amberflo's
}

func (s *Spool) note(e entry) error {
	reason, err := os.ReadFile(s.path(failedDir, e.Key) + ReasonSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.Time, e.Reason = time.Now().UTC(), string(reason)
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(journal), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write down what is done to %s: %w", e.Key, err)
	}
	_, err = s.write(f, append(line, '\n'))
	if err == nil {
		err = s.sync(f)
	}
	return errors.Join(err, f.Close())
}

func (s *Spool) removeReason(key string) error {
	if err := os.Remove(s.path(failedDir, key) + ReasonSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.removeEmpty(failedDir, key)
	return s.syncDir(s.path(failedDir))
}

var uuidInKey = regexp.MustCompile(`[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)

// freshKey gives a key that no object has had: with another uuid in place of the last, or with one
// before the extension.
func freshKey(key string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	if all := uuidInKey.FindAllStringIndex(key, -1); len(all) > 0 {
		at := all[len(all)-1]
		return key[:at[0]] + id.String() + key[at[1]:], nil
	}
	dir, name := path.Split(key)
	stem, extension, dot := strings.Cut(name, ".")
	if dot {
		extension = "." + extension
	}
	return dir + stem + "-" + id.String() + extension, nil
}
