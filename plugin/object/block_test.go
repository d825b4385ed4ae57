package object

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

func TestSumsJoinAsTheirLinesDo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var whole []byte
		var joined Sum
		for range r.IntN(5) {
			part := make([]byte, r.IntN(1<<r.IntN(17)))
			for i := range part {
				part[i] = byte(r.Uint32())
			}
			whole = append(whole, part...)
			var one Sum
			one.add(part)
			joined.join(one)
		}
		if want := (Sum{int64(len(whole)), crc32.ChecksumIEEE(whole)}); joined != want {
			t.Fatalf("got %+v, want %+v", joined, want)
		}
	}
}

func TestABlockHoldsItsLinesOrAnError(t *testing.T) {
	var e Encoder
	var d Decoder
	const line = "{\"name\":\"a\"}\n{\"name\":\"b\"}\n"
	for _, times := range []int{1, 10_000, longestWhole/len(line) + 1, 3 * longestWhole / len(line)} {
		var block bytes.Buffer
		want := []byte(strings.Repeat(line, times))
		for i := 2; i < times; i += 7 { // no two blocks of deflate alike
			want[i*len(line)+9] = byte('0' + i*i%77)
		}
		sum, err := e.Encode(&block, want, 1)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := d.Decode(block.Bytes(), sum)
		if err != nil || !bytes.Equal(lines, want) {
			t.Fatalf("got %d bytes, %v, want %d", len(lines), err, len(want))
		}
		var got []byte
		pieces, err := d.Pieces(block.Bytes(), sum)
		if err != nil {
			t.Fatal(err)
		}
		for piece, err := range pieces {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, piece...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %d bytes in pieces, want %d", len(got), len(want))
		}
		late := bytes.Clone(block.Bytes())
		late[len(late)*3/5] ^= 0x10
		for what, wrong := range map[string]struct {
			block []byte
			sum   Sum
		}{
			"cut off":          {block.Bytes()[:block.Len()/2], sum},
			"not deflate":      {bytes.Repeat([]byte{0xff}, 100), sum},
			"of another sum":   {block.Bytes(), Sum{sum.Size, sum.CRC + 1}},
			"too short":        {block.Bytes(), Sum{sum.Size + 1, sum.CRC}},
			"wrong at its end": {late, sum},
		} {
			if got, err := d.Decode(wrong.block, wrong.sum); err == nil || got != nil {
				t.Errorf("%s: got %q, want an error", what, got)
			}
			if pieces, err := d.Pieces(wrong.block, wrong.sum); err == nil {
				t.Errorf("%s: got pieces %t, want an error before the first", what, pieces != nil)
			}
		}
	}
}

func TestALargeBlockTakesNoMoreMemoryThanASmallOne(t *testing.T) {
	var e Encoder
	var block bytes.Buffer
	sum, err := e.Encode(&block, bytes.Repeat([]byte("{\"name\":\"a\"}\n"), 1<<20), 1)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var d Decoder
	pieces, err := d.Pieces(block.Bytes(), sum)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range pieces {
		if err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes of memory for %d bytes of lines", n, sum.Size)
	}
}
