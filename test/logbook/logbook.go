// Package logbook keeps what is logged, for tests and tools that read it while it is written.
package logbook

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// Book is everything that was written so far. It is safe for concurrent use; the zero value is empty.
type Book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count counts the lines that hold all of the words.
func (b *Book) Count(words ...string) int { return Count(b.String(), words...) }

// Logger logs into the book.
func (b *Book) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// Count counts the lines of a log that hold all of the words.
func Count(log string, words ...string) (n int) {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			n++
		}
	}
	return n
}
