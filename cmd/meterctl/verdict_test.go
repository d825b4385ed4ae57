package main

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/replay"
)

// CASES B11: where Fluent Bit does not start, check-config says so; where it starts although nothing of what was meant is in
// effect, check-config is an error of its own.
func TestWhereFluentBitRefusesToStartItIsSaid(t *testing.T) {
	fluentBit(t)
	plugin, err := filepath.Abs(filepath.Join("..", "..", "out_amberflo.so"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(plugin); err != nil {
		t.Skip("out_amberflo.so is not built: make builds it")
	}
	const (
		classic = "[INPUT]\n    Name dummy\n    Tag app.x\n[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    region us-west-2\n    store_dir /nowhere/amberflo\n    Workers 1\n    Retry_Limit no_limits\n"
		inYAML  = "pipeline:\n  inputs:\n    - {name: dummy, tag: app.x}\n  outputs:\n    - name: amberflo\n      match: app.*\n      bucket: b\n      region: us-west-2\n      store_dir: /nowhere/amberflo\n      workers: 1\n      retry_limit: no_limits\n"
		said    = "Fluent Bit does not start"
		said511 = "Fluent Bit 5.1.1 does not start"
	)
	for name, test := range map[string]struct {
		conf, want string
	}{
		"nothing wrong":                              {classic, "0 errors, 0 warnings"},
		"nothing wrong in YAML":                      {inYAML, "0 errors, 0 warnings"},
		"a group without a space":                    {classic + "    [X]\n        unmatched ignore\n", said},
		"a group":                                    {classic + "    [X y]\n        unmatched ignore\n", "error: [X y]"},
		"a key without a value":                      {classic + "    customer_id\n", said},
		"a key with spaces for a value":              {classic + "    customer_id   \n", said},
		"a YAML string of spaces":                    {inYAML + "      customer_id: '  '\n", said},
		"a YAML text of nothing":                     {inYAML + "      customer_id: ''\n", "error: customer_id"},
		"a YAML key without a value":                 {inYAML + "      customer_id:\n", "error: customer_id"},
		"a YAML list of nothing":                     {inYAML + "      dimensions: []\n", said},
		"a YAML map":                                 {inYAML + "      dimensions: {a: $b}\n", said},
		"a YAML map of nothing":                      {inYAML + "      dimensions: {}\n", said},
		"a YAML list":                                {inYAML + "      dimensions: [a, b]\n", said511},
		"a YAML list of one":                         {inYAML + "      dimensions: [a]\n", "0 errors, 0 warnings"},
		"an option twice":                            {classic + "    bucket c\n", said511},
		"a key with a letter too few":                {classic + "    dimension a\n", said511},
		"a list of patterns":                         {inYAML + "      match: [a, b]\n", "error: match"},
		"Match twice":                                {classic + "    Match other\n", "error: match"},
		"a variable that is not set":                 {classic + "    customer_id ${AMBERFLO_TEST_UNSET}\n", "error: customer_id"},
		"a variable that is set to nothing":          {"@SET X=\n" + classic + "    customer_id ${X}\n", "error: customer_id"},
		"a parser in the main file":                  {"[PARSER]\n    Name x\n    Format json\n" + classic, said},
		"a file of parsers that is missing":          {"[SERVICE]\n    Parsers_File nowhere.conf\n" + classic, "error: parsers_file"},
		"a text at the top of YAML":                  {"x: 1\n" + inYAML, said},
		"a list at the top of YAML":                  {"x: [a]\n" + inYAML, said},
		"a map at the top of YAML":                   {"x: {a: b}\n" + inYAML, "0 errors, 0 warnings"},
		"another indentation":                        {classic + "  customer_id $a\n", said},
		"a key in the first column":                  {classic + "customer_id $a\n", said},
		"a command that is none":                     {"@SETT X=1\n" + classic, "error: @SETT"},
		"a command without a space":                  {"@SETX=1\n" + classic, said},
		"a section with a letter too few":            {"[OUPUT]\n    Name null\n" + classic, "error: [OUPUT]"},
		"a parser's format that there is not":        {"parsers: [{name: x, format: jsn}]\n" + inYAML, said},
		"a parser without a name":                    {"parsers: [{format: json}]\n" + inYAML, said},
		"a parser's name twice":                      {"parsers: [{name: x, format: json}, {name: x, format: json}]\n" + inYAML, said},
		"a parser without its expression":            {"parsers: [{name: x, format: regex}]\n" + inYAML, said},
		"a parser's expression that is open":         {"parsers: [{name: x, format: regex, regex: '^(?<a>[)'}]\n" + inYAML, said},
		"a parser's expression that closes too much": {"parsers: [{name: x, format: regex, regex: '^(?<a>.))'}]\n" + inYAML, said},
		"a parser's expression of Ruby":              {"parsers: [{name: x, format: regex, regex: '^(?<a>[a-z&&[^x]]++)'}]\n" + inYAML, "0 errors, 0 warnings"},
		"a parser's offset of one digit":             {"parsers: [{name: x, format: json, time_format: '%s', time_offset: '+2'}]\n" + inYAML, said},
		"a parser's offset without a sign":           {"parsers: [{name: x, format: json, time_format: '%z', time_offset: '0200'}]\n" + inYAML, said},
		"a parser's offset of a name":                {"parsers: [{name: x, format: json, time_format: '%H', time_offset: 'UTC'}]\n" + inYAML, said},
		"a parser's offset with a colon":             {"parsers: [{name: x, format: json, time_format: '%H', time_offset: '-02:30'}]\n" + inYAML, "0 errors, 0 warnings"},
		"a parser's offset that nobody reads":        {"parsers: [{name: x, format: json, time_offset: '+2'}]\n" + inYAML, "0 errors, 0 warnings"},
		"a parser's zone that there is not":          {"parsers: [{name: x, format: json, time_format: '%H', time_zone: Mars/X}]\n" + inYAML, said},
		"a parser's zone without a format":           {"parsers: [{name: x, format: json, time_zone: Europe/Berlin}]\n" + inYAML, said},
		"a parser's zone beside an offset":           {"parsers: [{name: x, format: json, time_format: '%H', time_zone: Europe/Berlin, time_offset: '+0200'}]\n" + inYAML, said},
		"a parser's zone":                            {"parsers: [{name: x, format: json, time_format: '%H', time_zone: Europe/Berlin}]\n" + inYAML, "0 errors, 0 warnings"},
		"a YAML null":                                {inYAML + "      customer_id: ~\n", "error: customer_id: want a string, or no such line, got the null of YAML"},
		"an output without a name":                   {classic + "[OUTPUT]\n    Match *\n", said},
	} {
		t.Run(name, func(t *testing.T) {
			file := "main.conf"
			if strings.Contains(test.conf, "pipeline:") {
				file = "main.yaml"
			}
			dir := write(t, map[string]string{file: test.conf})
			out, err := meterctl(t, "check-config", "-c", filepath.Join(dir, file))
			if !strings.Contains(out, test.want) || (err == nil) != strings.Contains(out, " 0 errors") {
				t.Errorf("got %v and\n%swant %q in it", err, out, test.want)
			}
			log, err := exec.Command(replay.Program(), "-e", plugin, "-c", filepath.Join(dir, file), "--dry-run").CombinedOutput()
			if starts := !strings.Contains(out, said) && !strings.Contains(out, said511) && !strings.Contains(out, "parsers_file"); starts != (err == nil) {
				t.Errorf("check-config says\n%sand Fluent Bit %v:\n%s", out, err, log)
			}
		})
	}
}

// What the findings say of Fluent Bit, seen in Fluent Bit.
func TestWhatIsSaidOfFluentBitIsSo(t *testing.T) {
	fluentBit(t)
	conf := strings.Replace(tailConf, "    Parser p\n", "", 1)
	parsers := "[PARSER]\n    Name p\n    Format json\n    Time_Formt x\n[PARSER]\n    Name request\n    Format regex\n    Regex ^(?<method>\\S+) (?<path>\\S+)$\n"
	const line = `{"tenant":"acme","user":"u1","bytes":100,"request":"GET /a"}`
	processed := func(processors string) string {
		return "service: {parsers_file: parsers.conf, storage.path: /nowhere/chunks}\npipeline:\n  inputs:\n    - {name: tail, path: /nowhere/*.log, tag: app.log, parser: p, db: /nowhere/db, storage.type: filesystem, skip_long_lines: on, " +
			"processors: {logs: [" + processors + "]}}\n  outputs:\n    - {name: amberflo, match: app.*, bucket: b, region: us-west-2}\n"
	}
	with := func(filter string) string { return strings.Replace(tailConf, "[OUTPUT]", filter+"[OUTPUT]", 1) }
	for name, test := range map[string]struct {
		conf, sample string
		want         []string
	}{
		"a parser that nobody defines leaves the line a text":      {strings.Replace(conf, "DB", "Parser nope\n    DB", 1), `{"a":1}`, []string{`now {"log":"{\"a\":1}"}`}},
		"multiline.parser goes before Parser":                      {strings.Replace(conf, "DB", "Parser p\n    multiline.parser go\n    DB", 1), `{"a":1}`, []string{`now {"log":"{\"a\":1}\n"}`}},
		"an option that a parser does not have is never said":      {strings.Replace(conf, "DB", "Parser p\n    DB", 1), `{"a":1}`, []string{`now {"a":1}`}},
		"after a line that is too long the file is not read":       {strings.Replace(conf, "    Skip_Long_Lines On\n", "", 1), strings.Repeat("x", 40_000) + "\ny\n", nil},
		"a line that is too long is left out with Skip_Long_Lines": {conf, strings.Repeat("x", 40_000) + "\ny\n", []string{`now {"log":"y"}`}},
		"rewrite_tag with true gives a record under both tags":     {strings.Replace(conf, "[OUTPUT]", "[FILTER]\n    Name rewrite_tag\n    Match app.log\n    Rule $log . app.too true\n    Emitter_Storage.type filesystem\n[OUTPUT]", 1), "y", []string{`now {"log":"y"}`, `now {"log":"y"}`}},
		"a filter whose Match fits no tag does nothing":            {strings.Replace(conf, "[OUTPUT]", "[FILTER]\n    Name grep\n    Match nothing\n    Exclude log .\n[OUTPUT]", 1), "y", []string{`now {"log":"y"}`}},
		// what inputs, filters and processors do to fields
		"grep does not look at numbers":                           {with("[FILTER]\n    Name grep\n    Match *\n    Exclude status ^4\n"), `{"status":401}`, []string{`now {"status":401}`}},
		"rewrite_tag does not look at numbers":                    {with("[FILTER]\n    Name rewrite_tag\n    Match *\n    Rule $status ^4 other false\n    Emitter_Storage.type filesystem\n"), `{"status":401}`, []string{`now {"status":401}`}},
		"Offset_Key writes over a field":                          {strings.Replace(tailConf, "DB", "Offset_Key bytes\n    DB", 1), `{"tenant":"acme","bytes":100}`, []string{`now {"tenant":"acme","bytes":100,"bytes":0}`}},
		"content_modifier changes fields of an input's records":   {processed("{name: content_modifier, action: upsert, key: tenant, value: other}, {name: content_modifier, action: delete, key: bytes}, {name: content_modifier, action: insert, key: user, value: x}"), line, []string{`now {"user":"u1","request":"GET /a","tenant":"other"}`}},
		"content_modifier renames onto a field":                   {processed("{name: content_modifier, action: rename, key: user, value: tenant}"), line, []string{`now {"tenant":"acme","tenant":"u1","bytes":100,"request":"GET /a"}`}},
		"content_modifier extracts onto a field":                  {processed("{name: content_modifier, action: extract, key: request, pattern: '^(?<user>[A-Z]+)'}"), line, []string{`now {"tenant":"acme","bytes":100,"request":"GET /a","user":"GET"}`}},
		"content_modifier converts and hashes":                    {processed("{name: content_modifier, action: convert, key: bytes, converted_type: string}, {name: content_modifier, action: hash, key: user}"), line, []string{`now {"tenant":"acme","user":"bb82030dbc2bcaba32a90bf2e207a84a856fc5f033b77c480836ab6f77f40f19","request":"GET /a","bytes":"100"}`}},
		"sql drops what it does not select":                       {processed("{name: sql, query: 'SELECT user AS tenant, bytes FROM STREAM;'}"), line, []string{`now {"tenant":"u1","bytes":100}`}},
		"sql of a star drops nothing":                             {processed("{name: sql, query: 'SELECT * FROM STREAM;'}"), line, []string{`now {"tenant":"acme","user":"u1","bytes":100,"request":"GET /a"}`}},
		"filters are processors too":                              {processed("{name: modify, hard_rename: user tenant}, {name: record_modifier, remove_key: BYTES}"), line, []string{`now {"tenant":"u1","request":"GET /a"}`}},
		"the null of YAML is a text":                              {strings.Replace(processed("{name: modify, add: x y}"), "db:", "offset_key: ~, db:", 1), line, []string{`now {"tenant":"acme","user":"u1","bytes":100,"request":"GET /a","~":0,"x":"y"}`}},
		"Set writes over a field":                                 {with("[FILTER]\n    Match *\n    Name modify\n    Set bytes 0\n"), line, []string{`now {"tenant":"acme","user":"u1","request":"GET /a","bytes":"0"}`}},
		"Hard_rename writes over a field":                         {with("[FILTER]\n    Match *\n    Name modify\n    Hard_rename user tenant\n"), line, []string{`now {"tenant":"u1","bytes":100,"request":"GET /a"}`}},
		"Hard_copy writes over a field":                           {with("[FILTER]\n    Match *\n    Name modify\n    Hard_copy user tenant\n"), line, []string{`now {"user":"u1","tenant":"u1","bytes":100,"request":"GET /a"}`}},
		"Rename, Copy and Add write over no field":                {with("[FILTER]\n    Match *\n    Name modify\n    Rename user tenant\n    Copy request tenant\n    Add bytes 0\n"), line, []string{`now {"tenant":"acme","user":"u1","bytes":100,"request":"GET /a"}`}},
		"Record writes over a field":                              {with("[FILTER]\n    Match *\n    Name record_modifier\n    Record tenant host\n"), line, []string{`now {"tenant":"acme","user":"u1","bytes":100,"request":"GET /a","tenant":"host"}`}},
		"type_converter writes over a field":                      {with("[FILTER]\n    Match *\n    Name type_converter\n    int_key bytes tenant string\n"), line, []string{`now {"tenant":"acme","user":"u1","bytes":100,"request":"GET /a","tenant":"100"}`}},
		"Remove_wildcard takes what begins so":                    {with("[FILTER]\n    Match *\n    Name modify\n    Remove_wildcard byt\n    Remove_wildcard use*\n"), line, []string{`now {"tenant":"acme","user":"u1","request":"GET /a"}`}},
		"Remove_regex takes what it fits":                         {with("[FILTER]\n    Match *\n    Name modify\n    Remove_regex ^(bytes|user)$\n    Remove_regex enant\n"), line, []string{`now {"request":"GET /a"}`}},
		"Remove_key does not look at case and knows a star":       {with("[FILTER]\n    Match *\n    Name record_modifier\n    Remove_key BYTES\n    Remove_key us*\n"), line, []string{`now {"tenant":"acme","request":"GET /a"}`}},
		"Allowlist_key does not look at case and knows a star":    {with("[FILTER]\n    Match *\n    Name record_modifier\n    Allowlist_key TENANT\n    Allowlist_key us*\n"), line, []string{`now {"tenant":"acme","user":"u1"}`}},
		"nest puts fields below another":                          {with("[FILTER]\n    Match *\n    Name nest\n    Operation nest\n    Wildcard b*\n    Wildcard ten\n    Nest_under app\n"), line, []string{`now {"tenant":"acme","user":"u1","request":"GET /a","app":{"bytes":100}}`}},
		"a parser filter drops all else":                          {with("[FILTER]\n    Match *\n    Name parser\n    Key_Name request\n    Parser request\n"), line, []string{`now {"method":"GET","path":"/a"}`}},
		"a parser filter with Reserve_Data drops its field alone": {with("[FILTER]\n    Match *\n    Name parser\n    Key_Name request\n    Parser request\n    Reserve_Data On\n"), line, []string{`now {"method":"GET","path":"/a","tenant":"acme","user":"u1","bytes":100}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := "main.conf"
			if strings.HasPrefix(test.conf, "service:") {
				file = "main.yaml"
			}
			dir := write(t, map[string]string{file: test.conf, "parsers.conf": parsers})
			p, err := pipeline.Read(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			chunks, err := replay.Chunks(p, pipeline.Replay{Input: p.Inputs[0], Output: p.Mine()[0]}, []byte(test.sample), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tag := range slices.Sorted(maps.Keys(chunks)) {
				got = append(got, events(t, chunks[tag])...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWithoutThisFluentBitDoesNotStart(t *testing.T) {
	fluentBit(t)
	const conf = "[SERVICE]\n    Flush 1\n[INPUT]\n    Name dummy\n    Tag a\n[OUTPUT]\n    Name null\n    Match *\n"
	for name, test := range map[string]string{
		"a directory for chunks on disk": strings.Replace(conf, "Tag a", "Tag a\n    storage.type filesystem", 1),
		"the Match of a filter":          conf + "[FILTER]\n    Name grep\n    Regex a .\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(write(t, map[string]string{"main.conf": test}), "main.conf")
			err := replay.Run(replay.Program(), file, t.TempDir(), 0)
			if err == nil || !strings.Contains(err.Error(), "got its end (exit status") {
				t.Errorf("got %v, want it not to start", err)
			}
		})
	}
}
