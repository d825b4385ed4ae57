package alarm

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnOutageIsToldOfAtEachDoublingAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarm
		lines := 0
		for i := range 100 {
			n, tell := a.Failed("x")
			if n != i+1 {
				t.Fatalf("failure %d is the %dth", i+1, n)
			}
			if tell {
				lines++
			}
			time.Sleep(2 * time.Minute) // it has not ended because tries are rare
		}
		if lines != 7 {
			t.Errorf("%d lines for 100 failures, want 7", lines)
		}
		if n, lasted, tell := a.Succeeded(); n != 100 || lasted != 200*time.Minute || !tell {
			t.Errorf("the end: %d, %s, %v", n, lasted, tell)
		}
		if _, _, tell := a.Succeeded(); tell {
			t.Error("the end is told of twice")
		}
		time.Sleep(2 * time.Minute)
		if n, tell := a.Failed("x"); n != 1 || !tell {
			t.Errorf("another outage: %d, %v", n, tell)
		}
	})
}

func TestASuccessWithoutFailuresIsNotToldOf(t *testing.T) {
	var a Alarm
	if n, _, tell := a.Succeeded(); n != 0 || tell {
		t.Errorf("got %d, %v", n, tell)
	}
}

func TestACauseIsToldOfOnceWhenItIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarm
		got := ""
		for i := range 50 {
			for _, cause := range []string{"full", "disk"} {
				if _, tell := a.Failed(cause); tell && i < 2 {
					got += cause + " "
				}
			}
		}
		if want := "full disk disk "; got != want { // the fourth is a doubling
			t.Errorf("got %q, want %q", got, want)
		}
		if n, tell := a.Failed("other"); n != 101 || !tell {
			t.Errorf("a new one: %d, %v", n, tell)
		}
	})
}

func TestWhereGoodAndBadComeInTurnTheLinesBecomeRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Alarm
		lines := 0
		for range 1000 {
			if _, tell := a.Failed("x"); tell {
				lines++
			}
			if _, _, tell := a.Succeeded(); tell {
				lines++
			}
			time.Sleep(time.Second)
		}
		if lines != 8 {
			t.Errorf("%d lines, want 8", lines)
		}
		for i := range 100 { // it comes to stay
			if n, tell := a.Failed("x"); tell {
				if i > 10 {
					t.Errorf("told of after %d more, as the %dth", i, n)
				}
				return
			}
		}
		t.Error("never told of")
	})
}

func ExampleAlarm() {
	var a Alarm
	for range 3 {
		if n, tell := a.Failed("timeout"); tell {
			fmt.Println("failed", n)
		}
	}
	if n, _, tell := a.Succeeded(); tell {
		fmt.Println("succeeded after", n)
	}
	// Output:
	// failed 1
	// failed 2
	// succeeded after 3
}
