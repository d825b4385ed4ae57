package ship

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/logbook"
)

func TestTheLastFailureSaysHowLongItWaitsAndWhenItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := (&logbook.Book{}).Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		if got := s.Stats().LastFailure; !got.At.IsZero() {
			t.Errorf("got %+v before the first", got)
		}
		denied := errors.New("403")
		for range 3 {
			s.wait(t.Context())
			s.failed("a", time.Now(), &failure.Error{Kind: failure.Denied, Err: denied})
		}
		got := s.Stats().LastFailure
		if got.Kind != failure.Denied || !errors.Is(got.Err, denied) || got.Key != "" || got.InARow != 3 || !got.At.Equal(time.Now()) || !got.Next.After(got.At) || !got.Ended.IsZero() {
			t.Errorf("got %+v, want the third in a row, which lasts", got)
		}
		time.Sleep(time.Minute)
		s.succeeded(spool.Object{Key: "b"}, time.Now())
		if got := s.Stats().LastFailure; !got.Ended.Equal(time.Now()) {
			t.Errorf("got %+v, want it ended by the upload of another object", got)
		}

		again := s.failed("a", time.Now(), &failure.Error{Kind: failure.Object, Err: errors.New("400")})
		s.succeeded(spool.Object{Key: "b"}, time.Now())
		if got := s.Stats().LastFailure; got.Key != "a" || got.Kind != failure.Object || !got.Next.Equal(again.notBefore) || !got.Ended.IsZero() {
			t.Errorf("got %+v, want that of the object, which lasts though others go on", got)
		}
		s.succeeded(spool.Object{Key: "a"}, time.Now())
		if got := s.Stats().LastFailure; got.Ended.IsZero() {
			t.Errorf("got %+v, want it ended", got)
		}
	})
}
