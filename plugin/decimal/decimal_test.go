package decimal

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

func parse(t testing.TB, text string) Number {
	t.Helper()
	n, ok := Parse([]byte(text))
	if !ok {
		t.Fatalf("Parse(%q) rejects", text)
	}
	return n
}

func text(t testing.TB, n Number) string {
	t.Helper()
	b, ok := n.Append(nil)
	if !ok {
		t.Fatalf("Append rejects %+v", n)
	}
	return string(b)
}

func TestANumberIsWrittenAsItWasRead(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "0.000": "0", "1": "1", "-1": "-1", "0.10": "0.1", "-0.004": "-0.004", "12.5": "12.5", "100": "100",
		"1e3": "1000", "1.5e-7": "0.00000015", "1.50E+05": "150000", "0e308": "0",
		"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808",
		"18446744073709551616": "18446744073709551616", "0.123456789012345678901234567890": "0.12345678901234567890123456789",
		strings.Repeat("9", MaxDigits): strings.Repeat("9", MaxDigits),
	} {
		if got := text(t, parse(t, in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestWhatIsNoNumberOrBeyondTheBoundsIsRejected(t *testing.T) {
	for _, in := range []string{"", "-", ".", "1.", ".5", "--1", "1.2.3", "1e", "1e+", "1x", "e5", "1e309", "1e-309", "0e9999999999",
		"1e-9999999999", "NaN", "0x10", "1_000", "1,000", " 1", strings.Repeat("0", MaxDigits+1), "0." + strings.Repeat("0", MaxDigits)} {
		if n, ok := Parse([]byte(in)); ok {
			t.Errorf("%q: got %+v, want a rejection", in, n)
		}
	}
	for _, n := range []Number{parse(t, "1e200"), parse(t, "1e200").Add(parse(t, "1")), parse(t, "1e-200")} {
		if b, ok := n.Append([]byte("x")); ok || string(b) != "x" {
			t.Errorf("%+v: got %s, %v", n, b, ok)
		}
	}
}

// The other adder is math/big's rational numbers.
func TestSumsProductsAndOrderAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		digits := func(n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte('0' + r.IntN(10))
			}
			return string(b)
		}
		s := []string{"", "-"}[r.IntN(2)] + digits(1+r.IntN(25))
		if r.IntN(2) == 0 {
			s += "." + digits(1+r.IntN(30))
		}
		return s
	}
	rat := func(s string) *big.Rat {
		v, ok := new(big.Rat).SetString(s)
		if !ok {
			t.Fatal(s)
		}
		return v
	}
	for range 20_000 {
		a, b := random(), random()
		x, y := parse(t, a), parse(t, b)
		if got, want := rat(text(t, x.Add(y))), new(big.Rat).Add(rat(a), rat(b)); got.Cmp(want) != 0 {
			t.Fatalf("%s + %s: got %s", a, b, text(t, x.Add(y)))
		}
		if got, want := x.Cmp(y), rat(a).Cmp(rat(b)); got != want {
			t.Fatalf("%s <=> %s: got %d, want %d", a, b, got, want)
		}
		if x.Cmp(x) != 0 || x.Sign() != rat(a).Sign() {
			t.Fatalf("%s is not itself", a)
		}
		by, shift := r.Int64N(2000)-1000, r.IntN(40)-20
		want := new(big.Rat).Mul(rat(a), big.NewRat(by, 1))
		ten := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(shift, -shift))), nil))
		if shift < 0 {
			ten.Inv(ten)
		}
		if got := rat(text(t, x.Mul(by, shift))); got.Cmp(want.Mul(want, ten)) != 0 {
			t.Fatalf("%s × %d × 10^%d: got %s", a, by, shift, text(t, x.Mul(by, shift)))
		}
	}
}

func TestSmallNumbersAddWithoutAllocation(t *testing.T) {
	a, b := parse(t, "12.5"), parse(t, "0.004")
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf, _ = a.Add(b).Append(buf[:0]) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if string(buf) != "12.504" {
		t.Errorf("got %s", buf)
	}
}

func TestTheCoefficientIsTheSmallestThatANumberCanHave(t *testing.T) {
	for _, tt := range []struct {
		in          string
		coefficient int64
		exponent    int
		ok          bool
	}{
		{"0", 0, 0, true}, {"-0.000", 0, 0, true}, {"100", 1, 2, true}, {"-12.50", -125, -1, true}, {"1e308", 1, 308, true},
		{"9223372036854775807", 9223372036854775807, 0, true}, {"1.000000000000000000000000000", 1, 0, true}, {"-92233720368547758080000", -9223372036854775808, 4, true},
		{"123456789000000000000000000000", 123456789, 21, true}, {"9223372036854775808", 0, 0, false}, {"1.0000000000000000000000001", 0, 0, false},
	} {
		coefficient, exponent, ok := parse(t, tt.in).Coefficient()
		if ok != tt.ok || ok && (coefficient != tt.coefficient || exponent != tt.exponent) {
			t.Errorf("%s: got %d e %d, %v", tt.in, coefficient, exponent, ok)
		}
		if back := Of(coefficient, exponent); ok && back.Cmp(parse(t, tt.in)) != 0 {
			t.Errorf("%s: Of makes another number of it", tt.in)
		}
	}
}
