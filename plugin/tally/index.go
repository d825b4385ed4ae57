package tally

import "hash/maphash"

// index numbers keys in the order in which they come, which is all that comes of it. Keys are compared in full.
type index struct {
	seed   maphash.Seed // of each index its own: whoever writes a log cannot know which keys would share a slot
	slots  []uint32     // 1 + the number of a key, 0 for none: open addressing, at most half of it taken
	hashes []uint64     // by number
	ends   []int        // by number: where the key ends in keys
	keys   []byte
}

// find returns the number of key, -1 if it has none, and its hash for add.
func (x *index) find(key []byte) (number int, hash uint64) {
	if x.slots == nil {
		x.seed, x.slots = maphash.MakeSeed(), make([]uint32, 64)
	}
	hash = maphash.Bytes(x.seed, key)
	for i := hash; ; i++ {
		n := int(x.slots[i&uint64(len(x.slots)-1)]) - 1
		if n < 0 || x.hashes[n] == hash && string(x.key(n)) == string(key) {
			return n, hash
		}
	}
}

// add gives key, which has none, the next number.
func (x *index) add(key []byte, hash uint64) (number int) {
	number = len(x.hashes)
	x.hashes = append(x.hashes, hash)
	x.keys = append(x.keys, key...)
	x.ends = append(x.ends, len(x.keys))
	if 2*len(x.hashes) > len(x.slots) {
		x.slots = make([]uint32, 2*len(x.slots))
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
		if slot := &x.slots[i&uint64(len(x.slots)-1)]; *slot == 0 {
			*slot = uint32(number) + 1
			return
		}
	}
}

func (x *index) key(number int) []byte {
	from := 0
	if number > 0 {
		from = x.ends[number-1]
	}
	return x.keys[from:x.ends[number]]
}

// reset forgets all keys, and keeps the memory.
func (x *index) reset() {
	clear(x.slots)
	x.hashes, x.ends, x.keys = x.hashes[:0], x.ends[:0], x.keys[:0]
}
