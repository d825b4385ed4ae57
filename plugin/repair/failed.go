package repair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
)

// Failed lists the objects in failed/ of a spool, the longest there first.
func Failed(dir string) ([]spool.Object, error) { return spool.List(disk.New(dir), disk.Failed) }

// Resend hands a failed object, named by its key or its file, back for delivery under a fresh key, which it returns. Its bytes
// stay as they are, and so do the unique ids in them: what Amberflo had taken of it is not billed again. A running plugin takes
// it up within seconds, and otherwise the next start.
func Resend(dir, key string) (string, error) {
	d := disk.New(dir)
	if err := asOwner(d); err != nil {
		return "", err
	}
	obj, err := spool.Find(d, disk.Failed, key)
	if err != nil {
		return "", fmt.Errorf("resend: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	key = obj.Key
	fresh := freshKey(key, id)
	// Written down before, so that what is in the audit log may not have happened, but not the reverse.
	if err := note(d, entry{Action: "resend", Key: key, NewKey: fresh}); err != nil {
		return "", err
	}
	// From sealing/, where no segment of that id exists, an object goes to the outbox.
	again := sealing.Pending{From: sealing.Origin(id.String()), Dir: disk.Outbox, File: object.FileOf(fresh, obj.Sum)}
	err = d.Rename(d.Path(disk.Failed, obj.File()), d.Path(disk.Sealing, again.Name()))
	if err == nil {
		err = d.SyncDir(d.Path(disk.Sealing))
	}
	if err != nil {
		return "", fmt.Errorf("resend %s: %w", key, err)
	}
	return fresh, removeReason(d, key)
}

// Drop deletes a failed object for good. It is the only way to lose one, and is written down with why.
func Drop(dir, key, why string) error {
	if strings.TrimSpace(why) == "" {
		return errors.New("drop: want a reason for whoever asks later, got none")
	}
	d := disk.New(dir)
	if err := asOwner(d); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	obj, err := spool.Find(d, disk.Failed, key)
	if err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	key = obj.Key
	n, problems, err := Records(dir, fileOf(disk.Failed, obj), nil)
	if err != nil {
		return fmt.Errorf("drop %s: %w", key, err)
	}
	if len(problems) > 0 {
		why = fmt.Sprintf("%s (%v)", why, problems[0])
	}
	if err := note(d, entry{Action: "drop", Key: key, Why: why, Records: n}); err != nil {
		return err
	}
	if err := d.Remove(d.Path(disk.Failed, obj.File())); err != nil {
		return fmt.Errorf("drop %s: %w", key, err)
	}
	return removeReason(d, key)
}

func fileOf(dir string, obj spool.Object) File {
	return File{dir, dir + "/" + obj.File(), obj.Size, obj.Since}
}

// asOwner makes sure that what is written can be read by the plugin: sudo would make files that are root's.
func asOwner(d *disk.Dir) error {
	st, err := os.Stat(d.Path(disk.Open))
	if err != nil {
		return fmt.Errorf("want a store_dir of this plugin: %w", err)
	}
	theirs := disk.Owner(st)
	if mine, err := disk.MadeIn(d.Path(disk.Sealing)); err != nil || mine != theirs {
		return errors.Join(fmt.Errorf("want to run as the user of Fluent Bit, who owns %s, got user %d: sudo -u '#%d' meterctl …", d.Root, os.Geteuid(), theirs), err)
	}
	return nil
}

// entry is a line of the audit log.
type entry struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Key     string    `json:"key"`
	NewKey  string    `json:"new_key,omitempty"`
	Why     string    `json:"why,omitempty"`
	Records int       `json:"records,omitempty"`
	Reason  string    `json:"reason"` // Amberflo's
}

func note(d *disk.Dir, e entry) error {
	reason, err := os.ReadFile(d.Path(disk.Failed, e.Key) + spool.ReasonSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.Time, e.Reason = time.Now().UTC(), string(reason)
	line, err := json.Marshal(e)
	if err == nil {
		err = spool.TakeOverAuditLog(d)
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.Path(spool.AuditLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write down what is done to %s: %w", e.Key, err)
	}
	if _, err = d.Write(f, append(line, '\n')); err == nil {
		err = d.Sync(f)
	}
	return errors.Join(err, f.Close())
}

func removeReason(d *disk.Dir, key string) error {
	if err := os.Remove(d.Path(disk.Failed, key) + spool.ReasonSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.RemoveEmptyAbove(disk.Failed, key)
	return d.SyncDir(d.Path(disk.Failed))
}

var uuidInKey = regexp.MustCompile(`[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)

// freshKey gives a key that no object has had: with another uuid in place of the last, or with one before the extension.
func freshKey(key string, id uuid.UUID) string {
	if all := uuidInKey.FindAllStringIndex(key, -1); len(all) > 0 {
		at := all[len(all)-1]
		return key[:at[0]] + id.String() + key[at[1]:]
	}
	dir, name := path.Split(key)
	at := len(dir) + strings.IndexByte(name+".", '.')
	return key[:at] + "-" + id.String() + key[at:]
}
