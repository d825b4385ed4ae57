package pipeline

import (
	"cmp"
	"fmt"
	"os"
	"strings"
)

// setVariable is @SET or an entry of env. A value file://path stands for what the file holds.
func (r *reader) setVariable(at Place, name, value string) error {
	if path, ok := strings.CutPrefix(value, "file://"); ok && path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: variable %s: %w", at, name, err)
		}
		if value = string(content); value != "" && strings.ContainsAny(value[len(value)-1:], "\r\n") {
			value = value[:len(value)-1]
		}
	}
	r.env[name] = value
	return nil
}

// expand replaces ${NAME} and ${NAME:-default} (flb_env.c). The values put in are not looked into.
func (r *reader) expand(s *Section, p *Property) (string, error) {
	var out strings.Builder
	rest := p.Value
	for {
		at := strings.Index(rest, "${")
		if at < 0 {
			return out.String() + rest, nil
		}
		end := strings.IndexByte(rest, '}')
		if end < at+3 {
			// Fluent Bit would give up here, and lose a part in some cases.
			return "", fmt.Errorf("%s: %s: want ${NAME} and no other } before it, got %q", p.Place, p.Key, rest)
		}
		name, byDefault, hasDefault := strings.Cut(rest[at+2:end], ":-")
		value, set := r.env[name]
		if !set {
			value = os.Getenv(name)
		}
		if value == "" && (set || !hasDefault) {
			r.Unset = append(r.Unset, Variable{Place: p.Place, Section: s, Key: p.Key, Name: name, Emptied: set})
		}
		out.WriteString(rest[:at] + cmp.Or(value, byDefault))
		rest = rest[end+1:]
	}
}
