package tally

import (
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestAmountsAreWhatEveryReaderReads(t *testing.T) {
	for _, tt := range []struct{ number, want string }{
		{"0", "0"}, {"-0", "0"}, {"-0.00", "0"}, {"0e99", "0"}, {"1.50", "1.5"}, {"-1.50", "-1.5"}, {"1e3", "1000"}, {"1E+3", "1000"}, {"12e-1", "1.2"},
		{"9007199254740992", "9007199254740992"}, {"-9007199254740992", "-9007199254740992"}, {"9007199254740993", ""}, {"1e16", ""}, {"1e308", ""},
		{"123456789012345.0", "123456789012345"}, {"9007199254740992.000", "9007199254740992"}, {"1.23456789012345", "1.23456789012345"}, {"1.234567890123456", ""},
		{"0.000000000000000000000000000001", "0.000000000000000000000000000001"}, {"1e-30", "0.000000000000000000000000000001"},
		{"1.000000000000000000000000000000", "1"}, {"1.000000000000000000000000000001", ""}, {"1e-99", "0." + strings.Repeat("0", 98) + "1"}, {"1e-100", ""},
		{"18446744073709551615", ""}, {"100000000000000000000000000.0", ""},
	} {
		a, ok := Parse([]byte(tt.number))
		got := ""
		if ok {
			got = string(a.Append(nil))
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.number, got, tt.want)
		}
	}
}

func TestSumsOfAmountsEndWhereADoubleDoes(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"0.1", "0.2", "0.3"}, {"0.5", "0.5", "1"}, {"1", "-1", "0"}, {"1.5", "-1.5", "0"}, {"0.25", "100", "100.25"},
		{"9007199254740991", "1", "9007199254740992"}, {"9007199254740992", "1", ""}, {"1", "1e-14", "1.00000000000001"},
		{"1", "1e-15", ""}, {"1", "1e-30", ""}, {"9007199254740992", "1e-99", ""}, {"0", "1e-99", "0." + strings.Repeat("0", 98) + "1"},
		{"99999999999999.9", "0.1", "100000000000000"}, {"999999999999999", "0.1", ""}, {"-9007199254740992", "-1", ""}, {"-9007199254740992", "1.0", "-9007199254740991"},
	} {
		a, _ := Parse([]byte(tt.a))
		b, _ := Parse([]byte(tt.b))
		for _, pair := range [][2]Amount{{a, b}, {b, a}} {
			got := ""
			if sum, ok := pair[0].Add(pair[1]); ok {
				got = string(sum.Append(nil))
			}
			if got != tt.want {
				t.Errorf("%s + %s: got %q, want %q", tt.a, tt.b, got, tt.want)
			}
		}
	}
	sum, one := Amount{}, Amount{}
	one, _ = Parse([]byte("0.1"))
	for range 10 {
		sum, _ = sum.Add(one)
	}
	if got := string(sum.Append(nil)); got != "1" {
		t.Errorf("ten times 0.1 is %s", got)
	}
	// Zeros at the end of a fraction that other numbers left there are not in the way.
	for _, a := range []Amount{{1e14, 20}, {-1e14, 20}} {
		if sum, ok := a.Add(Amount{units: 1}); !ok || len(sum.Append(nil)) != 8 {
			t.Errorf("a millionth and 1 are %s, %v", sum.Append(nil), ok)
		}
	}
}

// randomNumber is one of the kinds that logs have, and some that they should not have.
func randomNumber(r *rand.Rand) string {
	switch r.IntN(8) {
	case 0, 1, 2:
		return strconv.Itoa(r.IntN(100_000))
	case 3:
		return strconv.FormatFloat(float64(r.IntN(1e6))/1000, 'f', r.IntN(5), 64)
	case 4:
		return "-" + strconv.Itoa(r.IntN(1000))
	case 5:
		return strconv.Itoa(r.IntN(1e6)) + "e" + strconv.Itoa(r.IntN(60)-30)
	case 6:
		return strconv.FormatUint(r.Uint64()>>r.IntN(20), 10)
	}
	return "0." + strings.Repeat("0", r.IntN(30)) + strconv.Itoa(1+r.IntN(99))
}

func rat(t testing.TB, number string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		t.Fatalf("no number: %q", number)
	}
	return r
}

func TestSumsOfAmountsAreThoseOfBigRat(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	added, rejected := 0, 0
	for range 50_000 {
		sum, want := Amount{}, new(big.Rat)
		for range 1 + r.IntN(6) {
			number := randomNumber(r)
			a, ok := Parse([]byte(number))
			isAmount := isSafe(rat(t, number))
			if ok != isAmount {
				t.Fatalf("%s: an amount is %v, want %v", number, ok, isAmount)
			}
			if !ok {
				continue
			}
			total := new(big.Rat).Add(want, rat(t, number))
			next, ok := sum.Add(a)
			if ok != isSafe(total) {
				t.Fatalf("%s + %s: an amount is %v, want %v", sum.Append(nil), number, ok, isSafe(total))
			}
			if !ok {
				rejected++
				continue
			}
			added++
			sum, want = next, total
			text := sum.Append(nil)
			if rat(t, string(text)).Cmp(want) != 0 || !json.Valid(text) {
				t.Fatalf("got %s, want %s", text, want)
			}
			f, err := strconv.ParseFloat(string(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			if short := strconv.FormatFloat(f, 'f', -1, 64); rat(t, short).Cmp(want) != 0 {
				t.Fatalf("a double makes %s of %s", short, text)
			}
		}
	}
	if added < 25_000 || rejected < 2_500 {
		t.Errorf("%d sums and %d rejected", added, rejected)
	}
}

// isSafe tells by another way if a number is an amount.
func isSafe(n *big.Rat) bool {
	if n.IsInt() {
		return new(big.Int).Abs(n.Num()).Cmp(big.NewInt(1<<53)) <= 0
	}
	text := strings.TrimRight(n.FloatString(120), "0")
	_, fraction, _ := strings.Cut(text, ".")
	return len(fraction) <= 99 && len(strings.TrimLeft(strings.Trim(strings.Replace(text, ".", "", 1), "-"), "0")) <= 15
}
