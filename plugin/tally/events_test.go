package tally

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// capacity is what a Merger holds of memory, about.
func (m *Merger) capacity() (n int) {
	x := &m.events
	n = len(x.pages)*int(unsafe.Sizeof(event{}))*eventsInPage + 4*cap(x.slots)
	for _, page := range append(x.texts.pages, x.texts.long...) {
		n += cap(page)
	}
	for _, b := range [][]byte{m.rest, m.key, m.canonical, m.id, m.out} {
		n += cap(b)
	}
	return n
}

func accessLines(from, n int) []byte {
	var b []byte
	for i := from; i < from+n; i++ {
		b = AppendMembers(fmt.Appendf(b, `{"customerId":"birch-labs-%d","meterApiName":"SearchCatalog","dimensions":{"method":"POST","status":"201"},"meterValue":%d,"meterTimeInMillis":%d,"uniqueId":"01a20280-9208-7d60-a63a-71b2f4aa20ec-%d"`, i, i*7919, at+5, i), 3, at+5, at+9)
	}
	return b
}

// What a Merger takes is bounded by keys and by bytes, and is not taken anew when it has let go of what it held.
func TestTheMemoryOfAMergerIsBounded(t *testing.T) {
	var e event
	if size := unsafe.Sizeof(e); size+4*4 != eventSize {
		t.Errorf("an event has %d bytes", size)
	}
	m := NewMerger(segment, func([]byte, int64) error { return nil })
	add := func(lines []byte) {
		t.Helper()
		if err := m.Add(width, lines); err != nil {
			t.Fatal(err)
		}
	}
	lines := accessLines(0, MaxKeys)
	add(lines)
	if m.events.n != MaxKeys {
		t.Fatalf("%d keys are held", m.events.n)
	}
	if n := m.capacity(); n > 4<<20 {
		t.Errorf("%d keys of an access log take %d bytes", MaxKeys, n)
	}
	more := accessLines(MaxKeys, MaxKeys)
	allocated := testing.AllocsPerRun(1, func() { add(more); add(lines) })
	if allocated > 100 {
		t.Errorf("%v allocations for %d lines more", allocated, 2*MaxKeys)
	}
	for _, size := range []int{100, 1000, 10_000, 100_000} { // of a customer's name
		m = NewMerger(segment, m.emit)
		for i := range 2 * MaxBytes / size {
			add([]byte(partialLine(fmt.Sprint(i, strings.Repeat("c", size)), "", "1", at, at, 2, fmt.Sprint("u-", i))))
		}
		if n := m.capacity(); n > MaxBytes+MaxBytes/4 {
			t.Errorf("keys of %d bytes take %d", size, n)
		}
	}
}

func TestAMergerAllocatesNothingPerLine(t *testing.T) {
	allocated := func(keys, lines int) uint64 {
		in := accessLines(0, keys)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m := NewMerger(segment, func([]byte, int64) error { return nil })
		for range lines / keys {
			if err := m.Add(width, in); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.End(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(1000, 1000), allocated(1000, 100_000)
	if many > few+64<<10 {
		t.Errorf("%d bytes for 1,000 lines, %d for 100,000", few, many)
	}
}

// However ids and values are written, and however long the texts are, an event of one record is the line that came.
func TestAnEventOfOneRecordIsTheRecordAsItWas(t *testing.T) {
	var in, want bytes.Buffer
	for i, id := range []string{"", "-", "7", "u", "u-", "u-0", "u-07", "u-123456789", "u-1234567890", "u-9-9", `u\"-1`, strings.Repeat("u", 63) + "-1", strings.Repeat("u", 64) + "-1", strings.Repeat("long", 5000)} {
		for j, value := range []string{"0", "-0", "7", "007", "1.50", "1e3", "0.1", "-12", "999999999999999", "9007199254740992", "1.2345678901234567"} {
			customer := fmt.Sprint(i, "-", j, strings.Repeat("c", i*j*j*j))
			line := plainLine(customer, `"b":"1","a":"2"`, value, at+int64(j), id)
			in.Write(AppendMembers([]byte(line), 1, at, at+int64(j)))
			want.WriteString(line + "}\n")
		}
	}
	got := merged(t, width, in.Len(), in.String())
	for line := range strings.Lines(want.String()) {
		if !strings.Contains(got, line) {
			t.Fatalf("not there: %.300s", line)
		}
	}
	if len(got) != want.Len() {
		t.Errorf("%d bytes, want %d", len(got), want.Len())
	}
}

// Ids of more segments than a Merger knows the prefixes of stay what they were.
func TestIDsOfManySegments(t *testing.T) {
	var in, want strings.Builder
	for i := range 3 * mostPrefixes {
		line := plainLine(fmt.Sprint("c", i), "", "1", at, fmt.Sprintf("segment-%d-%d", i, i*i))
		in.Write(AppendMembers([]byte(line), 1, at, at))
		want.WriteString(line + "}\n")
	}
	if got := merged(t, width, 1<<20, in.String()); got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
}
