package chunk

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

const (
	at       = "\xd7\x00\x6b\x01\xf8\x40\x07\x5b\xcd\x15" // 1795291200.123456789
	atSecs   = 1795291200
	atNanos  = 123456789
	metadata = "\x81\xa1m\x01"
	record   = "\x81\xa1k\xa1v"
	event    = "\x92\x92" + at + metadata + record
	start    = "\x92\x92\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x00\x80\x81\xa8resource\x80"
	end      = "\x92\x92\xd7\x00\xff\xff\xff\xfe\x00\x00\x00\x00\x80\x80"
)

// describe walks over a chunk and gives one line for each event and one for the end.
func describe(t *testing.T, chunk string, wanted ...string) string {
	t.Helper()
	var lines []string
	r := NewReader([]byte(chunk), wanted)
	for r.Next() {
		e := r.Event()
		if e.Malformed != "" {
			lines = append(lines, fmt.Sprintf("malformed %x: %s", e.Raw, e.Malformed))
			continue
		}
		line := fmt.Sprintf("%d.%09d %s", e.Seconds, e.Nanos, text(t, e.Record))
		if e.Metadata != nil {
			line += " metadata " + text(t, e.Metadata)
		}
		if e.Group != nil {
			line += " group " + text(t, e.Group)
		}
		for i := range wanted {
			if f := e.Field(i); len(f) > 0 {
				line += fmt.Sprintf(" %s=%s", wanted[i], text(t, f))
			}
		}
		lines = append(lines, line)
	}
	if err := r.Err(); err != nil {
		lines = append(lines, fmt.Sprintf("%v, rest %x", err, r.Rest()))
	}
	return strings.Join(lines, "\n")
}

// text renders msgpack through another reader than ours.
func text(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := msgp.UnmarshalAsJSON(&out, b); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return strings.TrimSpace(out.String())
}

func TestEveryShapeOfEventIsRead(t *testing.T) {
	float := func(f float64) string { return string(msgp.AppendFloat64(nil, f)) }
	for _, tt := range []struct{ name, chunk, want string }{
		{"an empty chunk has no events", "", ""},
		{"an event of the new format", event, `1795291200.123456789 {"k":"v"} metadata {"m":1}`},
		{"an event of the old format", "\x92" + at + record, `1795291200.123456789 {"k":"v"}`},
		{"a time in an extension with a length", "\x92\xc7\x08" + at[1:] + record, `1795291200.123456789 {"k":"v"}`},
		{"a time in whole seconds", "\x92\xce\x6b\x01\xf8\x40" + record, `1795291200.000000000 {"k":"v"}`},
		{"a time of zero", "\x92\x00" + record, `0.000000000 {"k":"v"}`},
		{"a time in 64 bits", "\x92\xcf\x00\x00\x00\x00\x6b\x01\xf8\x40" + record, `1795291200.000000000 {"k":"v"}`},
		{"a float time gives back the digits that were written", "\x92" + float(1795291200.909) + record, `1795291200.909000000 {"k":"v"}`},
		{"a float time just below a second is rounded up", "\x92" + float(1795291200.9999998) + record, `1795291201.000000000 {"k":"v"}`},
		{"the last second that is no marker", "\x92\xd7\x00\xff\xff\xff\xfd\x00\x00\x00\x00" + record, `4294967293.000000000 {"k":"v"}`},
		{"an integer that looks like a marker is a time", "\x92\xce\xff\xff\xff\xff" + record, `4294967295.000000000 {"k":"v"}`},
		{"32 bit headers", "\xdd\x00\x00\x00\x02\xdd\x00\x00\x00\x02" + at + "\xdf\x00\x00\x00\x00\xdf\x00\x00\x00\x01\xa1k\xa1v", `1795291200.123456789 {"k":"v"} metadata {}`},
		{"16 bit headers", "\xdc\x00\x02\xdc\x00\x02" + at + "\xde\x00\x00\xde\x00\x01\xa1k\xa1v", `1795291200.123456789 {"k":"v"} metadata {}`},
		{"two events", event + event, `1795291200.123456789 {"k":"v"} metadata {"m":1}` + "\n" + `1795291200.123456789 {"k":"v"} metadata {"m":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(t, tt.chunk); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestGroupMarkersAreNoEvents(t *testing.T) {
	plain := `1795291200.123456789 {"k":"v"} metadata {"m":1}`
	grouped := plain + ` group {"resource":{}}`
	other := strings.Replace(start, "\xa8resource", "\xa5scope", 1)
	for _, tt := range []struct{ name, chunk, want string }{
		{"a group without events", start + end, ""},
		{"a group ends at its end marker", start + event + end + event, grouped + "\n" + plain},
		{"a second start marker replaces the first", start + event + other + event, grouped + "\n" + plain + ` group {"scope":{}}`},
		{"a group may end with the chunk", event + start + event, plain + "\n" + grouped},
		{"an end marker alone does no harm", end + event, plain},
		{"a marker second with nanoseconds is a time", strings.Replace(start, "\x00\x00\x00\x00", "\x00\x00\x00\x01", 1), `4294967295.000000001 {"resource":{}} metadata {}`},
		{"a marker whose record is no map is malformed", start + start[:13] + "\x01" + event, fmt.Sprintf("malformed %x: want a record that is a map\n", start[:13]+"\x01") + grouped},
		{"a malformed event leaves the group as it is", start + "\x01" + event, "malformed 01: want an array of time and record\n" + grouped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(t, tt.chunk); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	r := NewReader([]byte(start+event+end), nil)
	if !r.Next() || string(r.Event().GroupRaw) != start {
		t.Errorf("GroupRaw: got %x, want the start marker", r.Event().GroupRaw)
	}
}

func TestWhatIsNoEventIsHandedOutAndTheWalkGoesOn(t *testing.T) {
	for _, tt := range []struct{ name, bytes, want string }{
		{"a number", "\x07", "want an array of time and record"},
		{"nil", "\xc0", "want an array of time and record"},
		{"a string", "\xa2hi", "want an array of time and record"},
		{"a map", record, "want an array of time and record"},
		{"an array of three", "\x93\xa1t" + at + record, "want an array of time and record"},
		{"an empty array", "\x90", "want an array of time and record"},
		{"a header of three", "\x92\x93" + at + metadata + "\x80" + record, "want a header of time and metadata"},
		{"metadata that is a list", "\x92\x92" + at + "\x90" + record, "want metadata that is a map"},
		{"a record that is a string", "\x92\x92" + at + metadata + "\xa2hi", "want a record that is a map"},
		{"a record that is nil", "\x92" + at + "\xc0", "want a record that is a map"},
		{"a time that is a string", "\x92\xa3now" + record, "want a time that is a number or Fluent Bit's extension type"},
		{"a time below zero", "\x92\xff" + record, "want a time of at least 0 seconds"},
		{"a time beyond 63 bits", "\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff" + record, "want a time of at least 0 seconds"},
		{"a time that is NaN", "\x92" + string(msgp.AppendFloat64(nil, math.NaN())) + record, "want a time of at least 0 seconds"},
		{"a time that is infinite", "\x92" + string(msgp.AppendFloat64(nil, math.Inf(1))) + record, "want a time of at least 0 seconds"},
		{"a time of another extension type", "\x92\xd7\x01" + at[2:] + record, "want a time of Fluent Bit's extension type 0 with 8 bytes"},
		{"a time of four bytes", "\x92\xd6\x00\x6b\x01\xf8\x40" + record, "want a time of Fluent Bit's extension type 0 with 8 bytes"},
		{"a time with too many nanoseconds", "\x92\xd7\x00\x6b\x01\xf8\x40\xff\xff\xff\xff" + record, "want a time with less than 1,000,000,000 nanoseconds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := fmt.Sprintf("malformed %x: %s\n", tt.bytes, tt.want) + `1795291200.123456789 {"k":"v"} metadata {"m":1}`
			if got := describe(t, tt.bytes+event); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestWantedKeysAreFound(t *testing.T) {
	long := strings.Repeat("x", 70)
	longer := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, record string
		wanted       []string
		want         string
	}{
		{"in the order of the keys, not of the record", "\x82\xa1a\x01\xa1b\x02", []string{"b", "none", "a"}, "b=2 a=1"},
		{"the last duplicate wins", "\x83\xa1a\x01\xa1b\x00\xa1a\x02", []string{"a"}, "a=2"},
		{"a nested value whole", "\x81\xa1a\x82\xa1b\x93\x01\x02\x03\xa1c\x80", []string{"a", "b"}, `a={"b":[1,2,3],"c":{}}`},
		{"a nested key is not of the top level", "\x81\xa1a\x81\xa1b\x01", []string{"b"}, ""},
		{"keys that are bytes", "\x81\xc4\x01a\x01", []string{"a"}, "a=1"},
		{"keys that are no string match nothing", "\x83\x01\x01\x80\x02\xa1a\x03", []string{"a", ""}, "a=3"},
		{"an empty key", "\x81\xa0\x01", []string{""}, "=1"},
		{"long keys", "\x82\xd9\x46" + long + "\x01\xda\x01\x2c" + longer + "\x02", []string{longer, long}, longer + "=2 " + long + "=1"},
		{"keys of one length and one beginning", "\x82\xa3abc\x01\xa3abd\x02", []string{"abd", "abe", "abc"}, "abd=2 abc=1"},
		{"null is none", "\x81\xa1a\xc0", []string{"a"}, ""},
		{"null hides what stands before it", "\x82\xa1a\x01\xa1a\xc0", []string{"a"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader([]byte("\x92\x00"+tt.record), tt.wanted)
			if !r.Next() {
				t.Fatal(r.Err())
			}
			var got []string
			for i := range tt.wanted {
				if f := r.Event().Field(i); len(f) > 0 {
					got = append(got, tt.wanted[i]+"="+text(t, f))
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDamageEndsTheWalkAndKeepsTheRest(t *testing.T) {
	first := `1795291200.123456789 {"k":"v"} metadata {"m":1}` + "\n"
	n := len(event)
	for _, tt := range []struct{ name, damaged, want string }{
		{"a byte that begins nothing", "\xc1rest", fmt.Sprintf("byte 0xc1 at %d begins no msgpack value", n)},
		{"such a byte inside a record", "\x92\x00\x81\xa1k\xc1rest", fmt.Sprintf("byte 0xc1 at %d begins no msgpack value", n+5)},
		{"such a byte as a key", "\x92\x00\x81\xc1\x00", fmt.Sprintf("byte 0xc1 at %d begins no msgpack value", n+3)},
		{"such a byte in the metadata", "\x92\x92\x00\x81\xa1k\xc1\x80", fmt.Sprintf("byte 0xc1 at %d begins no msgpack value", n+6)},
		{"a map that promises billions", "\x92\x00\xdf\xff\xff\xff\xff\xa1k", "it breaks off after 9 bytes"},
		{"a string that promises billions", "\x92\x00\x81\xdb\xff\xff\xff\xffk", "it breaks off after 9 bytes"},
		{"an array that promises billions", "\xdd\xff\xff\xff\xff\x01", "it breaks off after 6 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := first + fmt.Sprintf("read the event at byte %d: %s, rest %x", n, tt.want, tt.damaged)
			if got := describe(t, event+tt.damaged); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestAChunkThatBreaksOffAnywhereGivesTheEventsBeforeIt(t *testing.T) {
	chunk := []byte(event + start + event + end + event)
	bounds := map[int]int{0: 0} // offset of a clean end: events before it
	events := 0
	r := NewReader(chunk, []string{"k"})
	for _, part := range []string{event, start, event, end, event} {
		if part == event {
			events++
		}
		bounds[len(chunk)-len(r.Rest())+len(part)] = events
		r.next += len(part)
	}
	for cut := range chunk {
		r.Reset(chunk[:cut])
		n := 0
		for r.Next() {
			n++
		}
		if want, clean := bounds[cut]; clean {
			if r.Err() != nil || n != want {
				t.Errorf("cut at %d: %d events, %v; want %d and a clean end", cut, n, r.Err(), want)
			}
			continue
		}
		offset := 0
		if _, err := fmt.Sscanf(fmt.Sprint(r.Err()), "read the event at byte %d:", &offset); err != nil {
			t.Fatalf("cut at %d: got %v, want damage", cut, r.Err())
		}
		if want, ok := bounds[offset]; !ok || n != want || !bytes.Equal(r.Rest(), chunk[offset:cut]) {
			t.Errorf("cut at %d: %d events, %v, rest %x", cut, n, r.Err(), r.Rest())
		}
	}
}

// A page that nobody may read lies before the chunk, and another one behind it.
func TestNoByteOutsideOfTheChunkIsRead(t *testing.T) {
	page := os.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(memory) }()
	for _, outside := range [][]byte{memory[:page], memory[2*page:]} {
		if err := syscall.Mprotect(outside, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	inside := memory[page : 2*page : 2*page]

	wanted := []string{"tenant", "method", "status", "user_agent", "duration", "k", "customer_id", "a_key_of_more_bytes"}
	var numbers []int
	for i := range wanted {
		numbers = append(numbers, i)
	}
	last := "\x92\x07\x84\xabcustomer_id\xa1v\xb3a_key_of_more_bytes\xcd\x01\x02\xa1k\xd9\x03abc\xa6tenant"
	values := []string{"\x07", "\xc0", "\xcd\x01\x02", "\xcb01234567", "\xa3abc", "\xd9\x20" + strings.Repeat("v", 32), "\xda\x00\x02ab", "\x81\xa1k\x01"}
	for _, value := range values {
		record := last + value
		seen := accessLog(2) // they teach what keys there are
		seen = append(seen, record...)
		for cut := range len(record) + 1 {
			for _, before := range [][]byte{seen, nil} {
				r := NewReader(before, wanted)
				for r.Next() {
				}
				for _, chunk := range [][]byte{inside[:cut], inside[page-cut:]} {
					copy(chunk, record)
					r.Reset(chunk)
					for r.Next() {
						if e := r.Event(); e.Malformed == "" {
							e.AppendFields(make([]byte, 0, 500), numbers)
						}
					}
					if whole := cut == 0 || cut == len(record); whole != (r.Err() == nil) {
						t.Fatalf("%d of %d bytes of %x: %v", cut, len(record), record, r.Err())
					}
				}
			}
		}
	}
}

func TestDeepNestingCostsNoStack(t *testing.T) {
	deep := strings.Repeat("\x91", 8<<20)
	if got, want := describe(t, "\x92\x00\x81\xa1k"+deep), fmt.Sprintf("breaks off after %d bytes", len(deep)+5); !strings.Contains(got, want) {
		t.Errorf("unclosed nesting: got %.100s, want %s", got, want)
	}
	r := NewReader([]byte("\x92\x00\x81\xa1k"+deep+"\x01"), []string{"k"})
	if !r.Next() || len(r.Event().Field(0)) != len(deep)+1 {
		t.Errorf("closed nesting: %v", r.Err())
	}
}

func TestChunksOfTheRealFluentBitAreRead(t *testing.T) {
	wanted := []string{"tenant", "customerId", "log", "bytes"}
	paths, err := filepath.Glob("testdata/*.msgpack")
	if err != nil || len(paths) == 0 {
		t.Fatal("no golden chunks", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			chunk, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(path, "msgpack") + "txt"
			got := describe(t, string(chunk), wanted...) + "\n"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestAWalkDoesNotAllocate(t *testing.T) {
	chunk := accessLog(100)
	chunk = append(chunk, start+"\x01"+event+end...)
	r := NewReader(chunk, []string{"tenant", "method", "status"})
	n := testing.AllocsPerRun(10, func() {
		r.Reset(chunk)
		for r.Next() {
		}
	})
	if n != 0 || r.Err() != nil {
		t.Errorf("%v allocations, %v", n, r.Err())
	}
}

// accessLog returns n events of 12 fields and some 350 bytes each.
func accessLog(n int) []byte {
	var b []byte
	for i := range n {
		b = msgp.AppendArrayHeader(b, 2)
		b = msgp.AppendArrayHeader(b, 2)
		b = append(b, at...)
		b = append(b, 0xdf, 0, 0, 0, 0, 0xdf, 0, 0, 0, 12)
		for _, kv := range [][2]string{
			{"host", "203.0.113.45"}, {"tenant", fmt.Sprintf("tenant-%04d", i%1000)}, {"method", "GET"},
			{"path", "/api/v1/collections/products/items/12345"}, {"protocol", "HTTP/1.1"}, {"referer", "https://www.example.com/shop/products?page=3"},
			{"agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}, {"region", "eu-central-1"}, {"request_id", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"},
		} {
			b = msgp.AppendString(msgp.AppendString(b, kv[0]), kv[1])
		}
		b = msgp.AppendInt(msgp.AppendString(b, "status"), 200+i%5)
		b = msgp.AppendInt(msgp.AppendString(b, "bytes"), 1000+i)
		b = msgp.AppendFloat64(msgp.AppendString(b, "duration"), 0.0125)
	}
	return b
}

// A key is recognised by what the records before had: these have something else each time, in the headers that Fluent Bit writes
// and in others.
func TestKeysOfOneRecordAreNotTakenForThoseOfTheNext(t *testing.T) {
	long := strings.Repeat("long", 20)
	for _, more := range []int{0, 58, 61, 150} { // of wanted keys: up to 64 and more than that
		names := []string{"a", "b", "tenant", "tenanu", "seven77", "eight888", "customer", "customer_id", "customer_ie", "customer_region", long}
		wanted := []string{"tenant", "seven77", "eight888", "customer_id", "customer_region", long}
		for i := range more {
			wanted = append(wanted, fmt.Sprint("wanted", i))
			if i%10 == 0 {
				names = append(names, wanted[len(wanted)-1])
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		var chunk []byte
		for range 3000 {
			n := random.IntN(80)
			if random.IntN(2) > 0 {
				chunk = append(chunk, "\x92\x92"+at...)
				chunk = append(chunk, [][]byte{{0x80}, {0xdf, 0, 0, 0, 0}, {0x81, 1, 2}}[random.IntN(3)]...)
			} else {
				chunk = append(chunk, 0x92, 0x07)
			}
			if n < 16 && random.IntN(4) > 0 {
				chunk = append(chunk, 0x80|byte(n))
			} else {
				chunk = append(chunk, 0xde, byte(n>>8), byte(n))
			}
			for i := range n {
				if random.IntN(20) == 0 {
					chunk = append(chunk, byte(random.IntN(128)), 0xc0) // a number as the key
					continue
				}
				name := names[random.IntN(len(names))]
				if random.IntN(4) > 0 {
					name = names[i%len(names)]
				}
				switch random.IntN(8) {
				case 0:
					chunk = append(chunk, 0xd9, byte(len(name)))
				case 1:
					chunk = append(chunk, 0xdb, 0, 0, 0, byte(len(name)))
				default:
					chunk = append(chunk, msgp.AppendString(nil, name)[:len(msgp.AppendString(nil, name))-len(name)]...)
				}
				chunk = append(chunk, name...)
				switch random.IntN(10) {
				case 0:
					chunk = append(chunk, 0xc0)
				case 1, 2, 3:
					chunk = msgp.AppendString(chunk, strings.Repeat("v", random.IntN(40)))
				case 4:
					chunk = msgp.AppendString(chunk, strings.Repeat("v", 250+random.IntN(10)))
				case 5:
					chunk = append(chunk, "\x81\xa6tenant\xa1x"...)
				default:
					chunk = msgp.AppendInt(chunk, random.IntN(1000))
				}
			}
		}
		r := NewReader(chunk, wanted)
		records := 0
		for ; r.Next(); records++ {
			e := r.Event()
			var numbers []int
			all, bits := []byte("before"), uint64(0)
			for i, name := range wanted {
				want := lookup(t, e.Record, name)
				if !bytes.Equal(e.Field(i), want) {
					t.Fatalf("%d wanted keys, record %d: %s: got %x, want %x", len(wanted), records, name, e.Field(i), want)
				}
				if len(want) == 0 {
					want = []byte{0xc0}
				} else if i < 64 {
					bits |= 1 << i
				}
				numbers, all = append(numbers, i), append(all, want...)
			}
			if got := e.AppendFields(append(make([]byte, 0, random.IntN(2000)), "before"...), numbers); !bytes.Equal(got, all) {
				t.Fatalf("%d wanted keys, record %d: got %x, want %x", len(wanted), records, got, all)
			}
			if !e.Has(bits) && bits != 0 || e.Has(^bits) {
				t.Fatalf("%d wanted keys, record %d: it has not %b", len(wanted), records, bits)
			}
		}
		if err := r.Err(); err != nil || records != 3000 {
			t.Fatalf("%d wanted keys: %d records, %v", len(wanted), records, err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	chunk := accessLog(5000)
	r := NewReader(chunk, []string{"tenant", "method", "status"})
	b.SetBytes(int64(len(chunk) / 5000))
	b.ReportAllocs()
	for n := 0; n < b.N; {
		r.Reset(chunk)
		for n < b.N && r.Next() {
			n++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func FuzzReader(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.msgpack")
	for _, path := range paths {
		chunk, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(chunk)
	}
	f.Add([]byte(start + "\x07" + event + end + "\xc1"))
	keys := []string{"k", "tenant", "log", "bytes", "customer_id", "customer_i2"}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		before := bytes.Clone(chunk)
		r := NewReader(chunk, keys)
		for r.Next() {
			e := r.Event()
			// Another reader has to agree on where the event ends.
			if rest, err := msgp.Skip(e.Raw); err != nil || len(rest) != 0 {
				t.Fatalf("event %x: %d bytes too many, %v", e.Raw, len(rest), err)
			}
			if e.Malformed != "" {
				continue
			}
			for i, name := range keys {
				if want := lookup(t, e.Record, name); !bytes.Equal(e.Field(i), want) {
					t.Fatalf("%s: got %x, want %x", name, e.Field(i), want)
				}
			}
		}
		if r.Err() == nil && len(r.Rest()) != 0 {
			t.Fatalf("a clean end with %d bytes left", len(r.Rest()))
		}
		if r.Err() != nil {
			if _, err := msgp.Skip(r.Rest()); err == nil {
				t.Fatalf("%v, but %x is well-formed", r.Err(), r.Rest())
			}
		}
		if !bytes.Equal(chunk, before) {
			t.Fatal("the chunk was altered")
		}
	})
}

// lookup is the plain way to the last value of a key.
func lookup(t *testing.T, record []byte, name string) (value []byte) {
	t.Helper()
	n, b, err := msgp.ReadMapHeaderBytes(record)
	for ; err == nil && n > 0; n-- {
		key := b
		if b, err = msgp.Skip(b); err != nil {
			break
		}
		k, _, keyErr := msgp.ReadMapKeyZC(key)
		val := b
		if b, err = msgp.Skip(b); err == nil && keyErr == nil && string(k) == name {
			if value = val[:len(val)-len(b)]; msgp.IsNil(value) {
				value = nil
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
