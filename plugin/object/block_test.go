package object

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
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
	var block bytes.Buffer
	want := []byte("{\"name\":\"a\"}\n{\"name\":\"b\"}\n")
	sum, err := e.Encode(&block, want, 1)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := d.Decode(block.Bytes(), sum)
	if err != nil || !bytes.Equal(lines, want) {
		t.Errorf("got %q, %v, want %q", lines, err, want)
	}
	for what, wrong := range map[string]struct {
		block []byte
		sum   Sum
	}{
		"cut off":        {block.Bytes()[:block.Len()/2], sum},
		"not deflate":    {bytes.Repeat([]byte{0xff}, 100), sum},
		"of another sum": {block.Bytes(), Sum{sum.Size, sum.CRC + 1}},
		"too short":      {block.Bytes(), Sum{sum.Size + 1, sum.CRC}},
	} {
		if got, err := d.Decode(wrong.block, wrong.sum); err == nil {
			t.Errorf("%s: got %q, want an error", what, got)
		}
	}
}
