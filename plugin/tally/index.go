package tally

import "hash/maphash"

// index numbers keys in the order in which they come, which is all that comes of it. Keys are compared in full.
type index struct {
	seed   maphash.Seed // of each index its own: whoever writes a log cannot know which keys would share a slot
	slots  []slot       // open addressing, at most half of it taken
	hashes []uint64     // by number
	keys   []place      // by number
	texts  texts        // of keys
}

// place is where a key is in texts.
type place struct{ at, size uint32 }

// slot is a key's place: the upper half of its hash, which tells most others from it, and 1 + its number. 0 is none.
type slot struct{ hash, next uint32 }

// find returns the number of key, -1 if it has none, and its hash for add.
func (x *index) find(key []byte) (number int, hash uint64) {
	if x.slots == nil {
		x.seed, x.slots = maphash.MakeSeed(), make([]slot, 64)
	}
	hash = maphash.Bytes(x.seed, key)
	for i := hash; ; i++ {
		at := x.slots[i&uint64(len(x.slots)-1)]
		n := int(at.next) - 1
		if n < 0 || at.hash == uint32(hash>>32) && string(x.key(n)) == string(key) {
			return n, hash
		}
	}
}

func (x *index) key(number int) []byte { return x.texts.get(x.keys[number].at, x.keys[number].size) }

// add gives key, which has none, the next number.
func (x *index) add(key []byte, hash uint64) (number int) {
	number = len(x.hashes)
	x.hashes = push(x.hashes, hash)
	x.keys = push(x.keys, place{x.texts.keep(key), uint32(len(key))})
	if 2*len(x.hashes) > len(x.slots) {
		x.slots = make([]slot, 2*len(x.slots))
		for n, h := range x.hashes {
			x.put(n, h)
		}
	} else {
		x.put(number, hash)
	}
	return number
}

func (x *index) put(number int, hash uint64) {
	for i := hash; ; i++ {
		if at := &x.slots[i&uint64(len(x.slots)-1)]; at.next == 0 {
			*at = slot{uint32(hash >> 32), uint32(number) + 1}
			return
		}
	}
}

// reset forgets all keys, and keeps the memory that most need.
func (x *index) reset() {
	clear(x.slots)
	x.hashes, x.keys = x.hashes[:0], x.keys[:0]
	x.texts.reset(32)
}
