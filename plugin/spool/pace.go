package spool

import (
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// pause is how long work that can wait gives way to flushes (an idle process may sleep for 1 ms), and paceBytes how much
	// is done between two pauses. On one core an object that is sealed and uploaded at a stretch makes the flush beside it last
	// twice as long; with pauses, 38 flushes take it in turn. It goes on at 60 MB/s and more all the same.
	pause     = 300 * time.Microsecond
	paceBytes = 64 << 10
	// flushing is how long after it began a flush is taken to be running.
	flushing = 20 * time.Millisecond
)

// pace is that of one piece of work; it is not safe for concurrent use. The zero value knows no pauses.
type pace struct {
	s    *Spool
	done int // bytes since the last pause
}

// worked counts bytes that were handled, and pauses if they are many and chunks come in.
func (p *pace) worked(bytes int) {
	if p.done += bytes; p.s == nil || p.done < paceBytes {
		return
	}
	p.done = 0
	if begun := p.s.begun.Load(); begun != nil && time.Since(*begun) < flushing {
		time.Sleep(pause)
	}
}

// Read opens the bytes of an object. Whoever reads them is taken to work on what is read, and gives way to flushes.
func (s *Spool) Read(obj Object) (io.ReadSeekCloser, error) {
	if obj.Size == 0 {
		return nil, fmt.Errorf("read object %s: want its records, got an empty file: the disk lost them", obj.Key)
	}
	f, err := os.Open(s.path(outboxDir, obj.Key))
	if err != nil {
		if away := s.attached(); away != nil {
			err = away
		}
		return nil, fmt.Errorf("read object %s: %w", obj.Key, err)
	}
	return &pacedFile{f, pace{s: s}}, nil
}

// pacedFile hides what else a file can do: io.Copy would go past Read.
type pacedFile struct {
	io.ReadSeekCloser
	pace pace
}

func (f *pacedFile) Read(b []byte) (int, error) {
	n, err := f.ReadSeekCloser.Read(b)
	f.pace.worked(n)
	return n, err
}
