package spool

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// The MD5 of an object is made when the object is, and stands in the name of its file, before the last part of its key:
//
//	key     ingest/amberdata/11-28-2026/0199f1b2-….gz
//	file    ingest/amberdata/11-28-2026/9e107d9d372bb6826bd81d3542a419d6=0199f1b2-….gz
//
// A name comes and goes with the file: the rename that makes an object count makes its digest count, and no second file can be
// missing, old or another's. It goes along where extended attributes do not (NFS, rsync -a), survives a file that is
// written anew, and md5sum checks it. In the object itself it cannot be. An object without one, of an earlier version, is
// delivered once all of it could be read.

// digestSize is what the digest takes in a name.
const digestSize = 2*md5.Size + len("=")

// fileOf is the path, below a room, of an object.
func fileOf(key string, sum []byte) string {
	if sum == nil {
		return key
	}
	dir, name := path.Split(key)
	return dir + hex.EncodeToString(sum) + "=" + name
}

// parseFile reads what fileOf made; sum is nil if there is no digest.
func parseFile(file string) (key string, sum []byte) {
	dir, name := path.Split(file)
	if len(name) <= digestSize || name[digestSize-1] != '=' {
		return file, nil
	}
	sum, err := hex.DecodeString(name[:digestSize-1])
	if err != nil {
		return file, nil
	}
	return dir + name[digestSize:], sum
}

// ErrDamaged says that the bytes of an object are not those that it was sealed with.
var ErrDamaged = errors.New("the object is damaged: it is not what was sealed")

// Read opens the bytes of an object. Whoever reads them is taken to work on what is read, and gives way to flushes. They are
// compared to the digest as they are read from their start: where they differ, the end is [ErrDamaged] instead of [io.EOF].
func (s *Spool) Read(obj Object) (*Body, error) {
	if obj.Size == 0 {
		return nil, fmt.Errorf("read object %s: %w: it is empty", obj.Key, ErrDamaged)
	}
	f, err := os.Open(s.path(outboxDir, obj.file()))
	if err != nil {
		if away := s.attached(); away != nil {
			err = away
		}
		return nil, fmt.Errorf("read object %s: %w", obj.Key, err)
	}
	b := &Body{file: f, sum: obj.sum, seen: md5.New(), pace: pace{s: s}}
	if b.sum == nil {
		if b.sum, err = sumOf(f, obj.in(outboxDir)); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("read object %s: %w", obj.Key, err)
		}
	}
	return b, nil
}

// sumOf gives the digest of an object that came without, if all of it can be read.
func sumOf(f *os.File, file File) ([]byte, error) {
	sum := md5.New()
	if n, err := io.Copy(sum, f); err != nil {
		return nil, err
	} else if n == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	problems, err := textRecords(f, file, func([]byte) error { return nil })
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w (%s)", ErrDamaged, problems[0].What)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return sum.Sum(nil), err
}

// Body is an object's bytes. It hides what else a file can do: io.Copy would go past Read.
type Body struct {
	file *os.File
	sum  []byte
	seen hash.Hash // nil once it was equal to sum
	// partly: what is being read did not begin at the start.
	partly bool
	pace   pace
}

// MD5 is that of the bytes as they were sealed.
func (b *Body) MD5() []byte { return b.sum }

// Read implements [io.Reader].
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.file.Read(p)
	b.pace.worked(n)
	if b.seen == nil {
		return n, err
	}
	b.seen.Write(p[:n])
	if err == io.EOF && !b.partly {
		if !bytes.Equal(b.seen.Sum(nil), b.sum) {
			return n, ErrDamaged
		}
		b.seen = nil
	}
	return n, err
}

// Seek implements [io.Seeker].
func (b *Body) Seek(offset int64, whence int) (int64, error) {
	at, err := b.file.Seek(offset, whence)
	if b.seen != nil && (offset != 0 || whence != io.SeekCurrent) {
		b.seen.Reset()
		b.partly = at != 0
	}
	return at, err
}

// Close implements [io.Closer].
func (b *Body) Close() error { return b.file.Close() }

// asideDir is where damaged objects are kept, below damaged/: with their place.
const asideDir = damagedDir + "/" + outboxDir

// RescuedSuffix ends the name of a damaged object of which was delivered what could be read.
const RescuedSuffix = ".rescued"

// SetAside keeps a taken object that is damaged out of the outbox, in damaged/outbox/. It is not tried again.
func (s *Spool) SetAside(obj Object) error {
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	to := s.path(asideDir, obj.file())
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("keep the damaged %s: another one of that name is in %s already", obj.Key, asideDir)
	}
	if err := s.mkdirAll(path.Dir(to)); err != nil {
		return fmt.Errorf("keep the damaged %s: %w", obj.Key, err)
	}
	// Should a power cut undo it, the object is found damaged once more.
	if err := s.rename(s.path(outboxDir, obj.file()), to); err != nil {
		return fmt.Errorf("keep the damaged %s: %w", obj.Key, err)
	}
	delete(o.taken, obj.Key)
	o.bytes -= obj.Size
	o.damaged++
	s.count(&s.objects, -obj.Size)
	s.removeEmpty(outboxDir, obj.Key)
	s.mu.Lock()
	s.resendable = true
	s.mu.Unlock()
	s.poke()
	return nil
}

// aside lists the damaged objects that meterctl could rescue.
func (s *Spool) aside() []Object {
	objects, _ := s.listObjects(asideDir) // mostly there is no such folder
	return slices.DeleteFunc(objects, func(obj Object) bool { return strings.HasSuffix(obj.Key, RescuedSuffix) })
}

// Refused is the file of an object that [Spool.Refuse] has moved.
func (obj Object) Refused() File { return obj.in(failedDir) }

// in is the object's file in a room.
func (obj Object) in(room string) File {
	return File{Room: room, Path: room + "/" + obj.file(), Bytes: obj.Size, Modified: obj.Since}
}

// file is the object's path below a room.
func (obj Object) file() string { return fileOf(obj.Key, obj.sum) }

// find gives the object of that key in a room.
func (s *Spool) find(room, key string) (Object, error) {
	dir, name := path.Split(key)
	entries, err := os.ReadDir(s.path(room, dir))
	if err != nil {
		return Object{}, err
	}
	for _, e := range entries {
		if of, sum := parseFile(e.Name()); of == name {
			st, err := e.Info()
			if err != nil {
				return Object{}, err
			}
			if !st.Mode().IsRegular() {
				return Object{}, fmt.Errorf("want the key of an object, got %q: not a regular file", key)
			}
			return Object{Key: key, Size: st.Size(), Since: st.ModTime(), sum: sum}, nil
		}
	}
	return Object{}, fmt.Errorf("%s/%s: %w", room, key, fs.ErrNotExist)
}
