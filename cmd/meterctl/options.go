package main

import (
	"fmt"
	"slices"
	"strings"

	"out_amberflo/plugin"
)

// hostKeys are the properties that Fluent Bit keeps for itself in any [OUTPUT] (flb_output.c). Those
// that begin with net. are its own as well.
var hostKeys = []string{
	"name", "match", "match_regex", "alias", "log_level", "log_suppress_interval", "host", "port", "ipv6", "retry_limit", "workers",
	"storage.total_limit_size", "tls", "tls.verify", "tls.verify_hostname", "tls.debug", "tls.vhost", "tls.ca_path", "tls.ca_file",
	"tls.crt_file", "tls.key_file", "tls.key_passwd", "tls.min_version", "tls.max_version", "tls.ciphers", "tls.proxy.verify",
	"tls.proxy.verify_hostname", "tls.proxy.ca_path", "tls.proxy.ca_file", "tls.windows.certstore_name",
	"tls.windows.use_enterprise_store", "tls.windows.client_thumbprints",
}

// review warns of what Fluent Bit and the plugin pass over in silence.
func (c *configuration) review(s *section) {
	delivery, mapping := plugin.Keys()
	known := slices.Concat(mapping, delivery, hostKeys)
	lines := map[string]int{}
	for _, p := range s.properties {
		if first, twice := lines[p.key]; twice {
			if first != p.line {
				counts := "gives the plugin the first one"
				if lastCounts(p.key) {
					counts = "takes the last one"
				}
				c.warn(p.place, "%s: it stands in line %d already, and Fluent Bit %s", p.key, first, counts)
			}
			continue
		}
		lines[p.key] = p.line
		if slices.Contains(known, p.key) || strings.HasPrefix(p.key, "net.") {
			continue
		}
		hint := ""
		if near := nearest(p.key, known); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		c.warn(p.place, "%s: not an option of amberflo%s (Fluent Bit itself never tells)", p.key, hint)
	}
	if limit := strings.ToLower(s.get("retry_limit")); !slices.Contains([]string{"no_limits", "false", "off"}, limit) {
		c.warn(s.place, "retry_limit: want no_limits, got %q: Fluent Bit drops a chunk that the plugin could not accept in time", limit)
	}
}

// nearest gives the name that takes the fewest edits to become key, "" if none is near.
func nearest(key string, names []string) string {
	best, least := "", max(2, len(key)/3)+1
	for _, name := range names {
		if n := edits(key, name); n < least {
			best, least = name, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two texts, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
