package tally

// Table adds up the records of one chunk after the other, by keys that are any bytes and, for each, a number of meters. Its
// memory grows with the number of keys, and not with that of records. It is not safe for concurrent use.
type Table struct {
	meters int
	keys   index
	open   []int32 // by key and meter: 1 + the index of the sum that it adds to, 0 for none
	sums   []Sum
}

// Sum is what records of one key and meter come to. Where a sum would leave what an Amount holds, another is begun.
type Sum struct {
	Key, Meter  int32 // by their numbers
	Amount      Amount
	Records     int64
	First, Last int64 // the earliest and the latest time, in milliseconds

	// From and To are for the caller of Add: where it keeps how the value of the first record is written.
	From, To int32
}

// NewTable returns an empty table of so many meters a key.
func NewTable(meters int) *Table { return &Table{meters: meters} }

// Find returns the number of key, -1 if it has none, and its hash for Insert.
func (t *Table) Find(key []byte) (number int, hash uint64) { return t.keys.find(key) }

// Insert gives key, which has none, the next number, counted from 0. It does not keep key.
func (t *Table) Insert(key []byte, hash uint64) (number int) {
	for range t.meters {
		t.open = push(t.open, 0)
	}
	return t.keys.add(key, hash)
}

// Add adds a record. It returns the sum if the record has begun one, and else nil; it is valid until the next call.
func (t *Table) Add(key, meter int, a Amount, millis int64) (begun *Sum) {
	open := &t.open[key*t.meters+meter]
	if *open > 0 {
		s := &t.sums[*open-1]
		if sum, ok := s.Amount.Add(a); ok {
			s.add(sum, millis)
			return nil
		}
	}
	t.sums = push(t.sums, Sum{Key: int32(key), Meter: int32(meter), Amount: a, Records: 1, First: millis, Last: millis})
	*open = int32(len(t.sums))
	return &t.sums[len(t.sums)-1]
}

// add makes sum the amount, with a record of that time.
func (s *Sum) add(sum Amount, millis int64) {
	s.Amount = sum
	s.Records++
	s.First, s.Last = min(s.First, millis), max(s.Last, millis)
}

// AddInt is Add of the integer n, which is at most 2^52, in fewer steps.
func (t *Table) AddInt(key, meter int, n, millis int64) (begun *Sum) {
	if open := t.open[key*t.meters+meter]; open > 0 {
		s := &t.sums[open-1]
		if sum, ok := Int(s.Amount.units + n); ok && s.Amount.decimals == 0 {
			s.add(sum, millis)
			return nil
		}
	}
	return t.Add(key, meter, Amount{units: n}, millis)
}

// Sums are all of them in the order in which they were begun, until the next Add, Restart or Reset.
func (t *Table) Sums() []Sum { return t.sums }

// Keys returns how many keys have a number.
func (t *Table) Keys() int { return len(t.keys.hashes) }

// Restart forgets the sums, and keeps the keys with their numbers.
func (t *Table) Restart() {
	for i := range t.sums {
		t.open[int(t.sums[i].Key)*t.meters+int(t.sums[i].Meter)] = 0
	}
	t.sums = t.sums[:0]
}

// Reset forgets keys and sums, and keeps its memory.
func (t *Table) Reset() {
	t.keys.reset()
	t.open, t.sums = t.open[:0], t.sums[:0]
}
