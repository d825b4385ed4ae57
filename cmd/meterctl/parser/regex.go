package parser

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// matchTimeout is how long an expression may run on one line. Onigmo, which Fluent Bit has, may be faster with the same one.
var matchTimeout = 5 * time.Second

// regex compiles an expression of Onigmo with Ruby's syntax, which Fluent Bit runs (flb_regex.c).
func (p *Parser) regex(pattern string) (func(string) (Map, time.Time, bool), error) {
	options := regexp2.Multiline | regexp2.ExplicitCapture
	if inner, flags, ok := Slashes(pattern); ok {
		pattern = inner
		for _, f := range flags {
			switch f {
			case 'i':
				options |= regexp2.IgnoreCase
			case 'm':
				options |= regexp2.Singleline
			case 'x':
				options |= regexp2.IgnorePatternWhitespace
			}
		}
	}
	translated, err := fromRuby(pattern)
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(translated, options)
	if err != nil {
		return nil, fmt.Errorf("want an expression that meterctl can run, got %w; with --through-fluent-bit Fluent Bit itself runs it", err)
	}
	re.MatchTimeout = matchTimeout
	var names []string
	for _, name := range re.GetGroupNames() {
		if name != "" && (name[0] < '0' || name[0] > '9') {
			names = append(names, name)
		}
	}
	return func(line string) (Map, time.Time, bool) { return p.match(re, names, line) }, nil
}

// Slashes takes /expression/flags apart, as Fluent Bit does (flb_regex.c); ok is false where all of the pattern is the
// expression, such as after an option that it does not know.
func Slashes(pattern string) (inner, flags string, ok bool) {
	end := strings.LastIndexByte(pattern, '/')
	if !strings.HasPrefix(pattern, "/") || end == 0 {
		return "", "", false
	}
	flags = pattern[end+1:]
	return pattern[1:end], flags, strings.Trim(flags, "imxo") == ""
}

// match reads the named groups; one that matched nothing is left out, unless Skip_Empty_Values is off.
func (p *Parser) match(re *regexp2.Regexp, names []string, line string) (Map, time.Time, bool) {
	m, err := re.FindStringMatch(shield(line))
	if err != nil { // the timeout: there is no other error
		p.GivenUp++
	}
	if m == nil {
		return nil, time.Time{}, false
	}
	record, at, any := Map{}, time.Time{}, false
	for _, name := range names {
		g := m.GroupByName(name)
		any = any || g != nil && len(g.Captures) > 0
		value := ""
		if g != nil && len(g.Captures) > 0 {
			value = unshield(g.String())
		}
		if value == "" && p.skipEmpty {
			continue
		}
		if p.times != nil && name == p.timeKey {
			when, ok := p.time(value)
			if !ok {
				continue // Fluent Bit leaves it out, and takes the time of the reading
			}
			if at = when; !p.timeKeep {
				continue
			}
		}
		record = p.field(record, name, value)
	}
	return record, at, any
}

// classes are the escapes that Ruby reads as ASCII, and .NET (whose syntax regexp2 has) otherwise.
var classes = map[byte]string{'d': "0-9", 'w': "a-zA-Z0-9_", 's': ` \t\r\n\f\v`, 'h': "0-9a-fA-F"}

// posix are the classes [:name:], which Ruby reads as Unicode.
var posix = map[string]string{
	"alnum": `\p{L}\p{M}\p{Nd}`, "alpha": `\p{L}\p{M}`, "digit": `\p{Nd}`, "lower": `\p{Ll}`, "upper": `\p{Lu}`, "word": `\p{L}\p{M}\p{Nd}\p{Pc}`,
	"xdigit": "0-9a-fA-F", "space": `\s`, "blank": `\t\p{Zs}`, "punct": `\p{P}\p{S}`, "cntrl": `\p{Cc}`, "graph": `\p{L}\p{M}\p{N}\p{P}\p{S}`,
}

// fromRuby translates what the two syntaxes write differently.
func fromRuby(pattern string) (string, error) {
	var b strings.Builder
	class := 0
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			escape(&b, pattern[i], class > 0)
		case c == '[' && class > 0:
			if name, _, ok := strings.Cut(pattern[i:], ":]"); ok && strings.HasPrefix(name, "[:") {
				ranges, known := posix[strings.TrimPrefix(name, "[:")]
				if !known {
					return "", fmt.Errorf("want a class such as [:alnum:], got %q", name+":]")
				}
				b.WriteString(ranges)
				i += len(name) + 1
				continue
			}
			return "", fmt.Errorf("want no class inside of a class, got one at %q; with --through-fluent-bit Fluent Bit itself runs it", pattern[i:])
		case c == '[':
			class = 1
			b.WriteByte(c)
			for i+1 < len(pattern) && (pattern[i+1] == '^' || pattern[i+1] == ']') {
				i++
				if pattern[i] == ']' {
					b.WriteByte('\\')
				}
				b.WriteByte(pattern[i])
				if pattern[i] == ']' {
					break
				}
			}
		case c == ']' && class > 0:
			class = 0
			b.WriteByte(c)
		case class == 0 && strings.HasPrefix(pattern[i:], "(?m"):
			b.WriteString("(?s")
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// escape writes what stands after a \.
func escape(b *strings.Builder, c byte, inClass bool) {
	lower := c | 0x20
	ranges, known := classes[lower]
	switch {
	case known && inClass && c == lower:
		b.WriteString(ranges)
	case known && !inClass && c == lower:
		b.WriteString("[" + ranges + "]")
	case known && !inClass:
		b.WriteString("[^" + ranges + "]")
	case c == '_' || c >= 0x80, (lower >= 'a' && lower <= 'z') && !strings.ContainsRune("abefnrtvxuckpzABDGPSWZ", rune(c)):
		b.WriteByte(c) // a letter that means nothing stands for itself
	default:
		b.WriteString(`\` + string(c))
	}
}
