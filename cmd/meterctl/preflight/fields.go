package preflight

import (
	"cmp"
	"slices"
	"strings"

	"out_amberflo/plugin"
)

// Field is a top-level field that the mapping names.
type Field struct {
	Option string // that names it
	Root   string // record, metadata, group or TAG
	Key    string // of the record, "" for the other roots
	Text   string // the accessor as it was written
}

// Money tells if the field says who pays, for what, how much, whether at all, or which record it is: if it is wrong, the bill is.
func (f Field) Money() bool {
	return slices.Contains([]string{"customer_id", "meter_api_name", "meter_value", "meters", "unique_id", "only_if"}, f.Option)
}

// mapping gives the options of the mapping in effect, with the accessors that are defaults.
func mapping(get func(string) string) map[string]string {
	texts := map[string]string{}
	for _, option := range ofMapping() {
		if text := strings.TrimSpace(get(option)); text != "" {
			texts[option] = text
		}
	}
	if texts["payload"] == "record" {
		return texts
	}
	for _, o := range plugin.Options() {
		if strings.HasPrefix(o.Default, "$") && (texts["meters"] == "" || o.Key != "meter_api_name" && o.Key != "meter_value") {
			texts[o.Key] = cmp.Or(texts[o.Key], o.Default)
		}
	}
	return texts
}

// Fields finds the accessors in the options of a mapping. It looks for $name wherever it may stand, so that it needs to know
// no function or operator, and reads what the plugin does not take as well as it can.
func Fields(get func(string) string) (fields []Field) {
	texts := mapping(get)
	for _, option := range ofMapping() {
		text := texts[option]
		fields = append(fields, accessors(option, text)...)
		if option != "dimensions" || text == "" || strings.HasPrefix(text, "$") {
			continue
		}
		for _, item := range items(text) {
			if name, _, pair := strings.Cut(item, "="); !pair {
				if name = strings.Trim(strings.TrimSpace(name), `'"`); name == "TAG" {
					continue
				}
				fields = append(fields, Field{Option: option, Root: "record", Key: name, Text: "$" + name})
			}
		}
	}
	return fields
}

// accessors reads $key['sub'], $['any key'], $metadata['x'], $data[$key] and the like, outside of quotes.
func accessors(option, text string) (fields []Field) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			i = endOfQuotes(text, i)
		case '$':
			f := Field{Option: option, Root: "record"}
			from := i
			for i++; i < len(text) && isName(text[i]); i++ {
				f.Key += text[i : i+1]
			}
			inner, end := subscripts(text, i)
			f.Text = text[from:end]
			if f.Key == "" && strings.HasPrefix(text[i:end], "[") {
				f.Key = strings.Trim(strings.Trim(firstSubscript(text[i:end]), "[]"), `'" `)
			}
			if root := f.Key; root == "TAG" || (root == "metadata" || root == "group") && end > i {
				f.Root, f.Key = root, ""
			}
			if f.Root != "record" || f.Key != "" {
				fields = append(fields, f)
			}
			fields = append(fields, accessors(option, inner)...)
			i = end - 1
		}
	}
	return fields
}

func isName(c byte) bool {
	return c == '_' || c == '-' || c == '/' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// subscripts gives what the brackets from i on hold, and where they end.
func subscripts(text string, i int) (inner string, end int) {
	for i < len(text) && text[i] == '[' {
		from, depth := i+1, 0
		for ; i < len(text); i++ {
			if text[i] == '"' || text[i] == '\'' {
				i = endOfQuotes(text, i)
				continue
			}
			if text[i] == '[' {
				depth++
			}
			if text[i] == ']' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		inner += text[from:min(i, len(text))] + " "
		i = min(i+1, len(text))
	}
	return inner, i
}

func firstSubscript(text string) string {
	_, end := subscripts(text[:min(strings.IndexByte(text, ']')+1, len(text))], 0)
	return text[:end]
}

// endOfQuotes is where the quotes that open at i close; a doubled one stands for itself.
func endOfQuotes(text string, i int) int {
	for j := i + 1; j < len(text); j++ {
		if text[j] == text[i] {
			if j+1 < len(text) && text[j+1] == text[i] {
				j++
				continue
			}
			return j
		}
	}
	return len(text)
}

// items are the parts of a list between commas that stand outside of quotes and brackets.
func items(text string) (list []string) {
	from, depth := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			i = endOfQuotes(text, i)
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		case ',':
			if depth == 0 {
				list = append(list, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	return append(list, strings.TrimSpace(text[from:]))
}

// literal gives an item that is no accessor, without its quotes.
func literal(item string) (string, bool) {
	if item == "" || strings.ContainsAny(item, "$(") {
		return "", false
	}
	return strings.Trim(item, `'"`), true
}
