package tally

import "hash/maphash"

// index numbers keys in the order in which they come, which is all that comes of it. Keys are compared in full.
type index struct {
	seed   maphash.Seed // of each index its own: whoever writes a log cannot know which keys would share a slot
	slots  []slot       // open addressing, at most half of it taken
	hashes []uint64     // by number
	texts  texts        // of keys
}

// slot is a key's place: the upper half of its hash, which tells most others from it, 1 + its number, 0 for none, and where it is
// in texts.
type slot struct{ hash, next, at, size uint32 }

// find returns the number of key, -1 if it has none, and its hash for add.
func (x *index) find(key []byte) (number int, hash uint64) {
	if x.slots == nil {
		x.seed, x.slots = maphash.MakeSeed(), make([]slot, 64)
	}
	hash = maphash.Bytes(x.seed, key)
	for i := hash; ; i++ {
		s := &x.slots[i&uint64(len(x.slots)-1)]
		if s.next == 0 || s.hash == uint32(hash>>32) && int(s.size) == len(key) && same(x.texts.get(s.at, s.size), key) {
			return int(s.next) - 1, hash
		}
	}
}

// same tells if two texts of one size are equal. Those of the usual sizes are compared by two halves that may overlap: without a
// loop, whose end would be another one each time.
func same(a, b []byte) bool {
	const quarter = 16
	if n := len(a); n >= 2*quarter && n <= 4*quarter && n == len(b) {
		c, d := a[n-2*quarter:], b[n-2*quarter:]
		return *(*[quarter]byte)(a) == *(*[quarter]byte)(b) && *(*[quarter]byte)(a[quarter:]) == *(*[quarter]byte)(b[quarter:]) &&
			*(*[quarter]byte)(c) == *(*[quarter]byte)(d) && *(*[quarter]byte)(c[quarter:]) == *(*[quarter]byte)(d[quarter:])
	}
	return string(a) == string(b)
}

// add gives key, which has none, the next number.
func (x *index) add(key []byte, hash uint64) (number int) {
	number = len(x.hashes)
	x.hashes = push(x.hashes, hash)
	if 2*len(x.hashes) > len(x.slots) {
		old := x.slots
		x.slots = make([]slot, 2*len(old))
		for _, s := range old {
			if s.next > 0 {
				x.put(s, x.hashes[s.next-1])
			}
		}
	}
	x.put(slot{uint32(hash >> 32), uint32(number) + 1, x.texts.keep(key), uint32(len(key))}, hash)
	return number
}

func (x *index) put(s slot, hash uint64) {
	for i := hash; ; i++ {
		if at := &x.slots[i&uint64(len(x.slots)-1)]; at.next == 0 {
			*at = s
			return
		}
	}
}

// reset forgets all keys, and keeps the memory that most need.
func (x *index) reset() {
	clear(x.slots)
	x.hashes = x.hashes[:0]
	x.texts.reset(32)
}
