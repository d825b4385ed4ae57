package preflight

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"out_amberflo/cmd/meterctl/pipeline"
)

// classic is a pipeline without a fault.
const classic = `[SERVICE]
    Flush 1
    Daemon Off
    Parsers_File parsers.conf
    storage.path /var/lib/x/chunks
[INPUT]
    Name tail
    Path /var/log/a.log
    Tag app.log
    Parser lines
    DB /var/lib/x/tail.db
    storage.type filesystem
    Skip_Long_Lines On
    Read_from_Head On
[OUTPUT]
    Name amberflo
    Match app.*
    bucket b
    store_dir /var/lib/x/amberflo
    customer_id $tenant
    meters ApiCalls=1, BytesOut=$bytes
    meter_time $time
    Workers 1
    Retry_Limit no_limits
`

// inYAML is the same in the other form.
const inYAML = `service: {flush: 1, parsers_file: parsers.conf, storage.path: /var/lib/x/chunks}
pipeline:
  inputs:
    - {name: tail, path: /var/log/a.log, tag: app.log, parser: lines, db: /x/tail.db, storage.type: filesystem, skip_long_lines: on, read_from_head: on}
  outputs:
    - name: amberflo
      match: app.*
      bucket: b
      store_dir: /var/lib/x/amberflo
      customer_id: $tenant
      meters: ApiCalls=1, BytesOut=$bytes
      meter_time: $time
      workers: 1
      retry_limit: no_limits
`

const parsers = `[PARSER]
    Name lines
    Format json
[PARSER]
    Name access
    Format regex
    Regex ^(?<tenant>\S+) (?<bytes>\d+) (?<size>\S+) \[(?<time>[^\]]+)\]$
    Time_Key time
    Time_Format %s
    Types bytes:integer
[PARSER]
    Name casts
    Format regex
    Regex ^(?<tenant>\S+) (?<bytes>\S+) (?<time>.*)$
    Types bytes:integer
[PARSER]
    Name names
    Format logfmt
    Types tenant:integer method:integer
[PARSER]
    Name typo
    Format json
    Time_Formt %s
[PARSER]
    Name local
    Format json
    Time_Format %Y-%m-%d %H:%M:%S
    Time_Keep On
[PARSER]
    Name sizes
    Format logfmt
    Types size:integer
[PARSER]
    Name misspelt
    Format regex
    Regex ^(?<tenant>\S+) (?<bytes>\S+) (?<time>.*)$
    Time_Key tiem
    Time_Format %s
[PARSER]
    Name formless
    Format json
    Time_Key time
[PARSER]
    Name plain
    Format regex
    Regex ^(?<tenant>\S+) (?<bytes>\S+) (?<size>\d*\.\d+) (?<time>.*)$
    Types size:float
[PARSER]
    Name request
    Format regex
    Regex ^(?<method>\S+) (?<path>\S+)$
[PARSER]
    Name fractions
    Format ltsv
    Types bytes:float
`

// findings are those of a pipeline in which pairs of strings are replaced, one a line.
func findings(t *testing.T, conf string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.conf")
	if strings.HasPrefix(conf, "service:") {
		file = filepath.Join(dir, "main.yaml")
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(conf, replace[i]) {
			t.Fatalf("no %q in the configuration", replace[i])
		}
		conf = strings.Replace(conf, replace[i], replace[i+1], 1)
	}
	for name, content := range map[string]string{file: conf, filepath.Join(dir, "parsers.conf"): parsers} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := pipeline.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range All(p) {
		b.WriteString(strings.ReplaceAll(f.String(), dir+"/", "") + "\n")
	}
	return b.String()
}

func TestAPipelineWithoutFaultHasNoFinding(t *testing.T) {
	for name, conf := range map[string]string{"classic": classic, "YAML": inYAML} {
		if got := findings(t, conf); got != "" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// rows of TestEachFaultIsNamed: strings of the pipeline without fault, and what stands in their place.
type row struct {
	name    string
	conf    string // classic if empty
	replace []string
	want    string // "": no finding
}

const (
	lastLine = "    Retry_Limit no_limits\n"
	tailLine = "    Skip_Long_Lines On\n"
	yamlLast = "      retry_limit: no_limits\n"
	emitter  = "    Emitter_Storage.type filesystem\n"
)

// filter is a section in front of the output.
func filter(lines ...string) []string {
	return []string{"[OUTPUT]\n", "[FILTER]\n    Match app.*\n    " + strings.Join(lines, "\n    ") + "\n[OUTPUT]\n"}
}

// sharing puts a second output beside the first, in the same store_dir.
func sharing(first, second string) []string {
	return []string{lastLine, lastLine + first + "[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    store_dir /var/lib/x/amberflo\n    customer_id $tenant\n    meter_api_name M\n    meter_value 1\n    Workers 1\n" + lastLine + second}
}

// second is another output without a fault, of the customers and meters that it is told.
func second(first string, lines ...string) []string {
	return []string{lastLine, lastLine + first + "[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    store_dir /var/lib/x/more\n    customer_id $tenant\n    meter_time $time\n    Workers 1\n    Retry_Limit no_limits\n    " + strings.Join(lines, "\n    ") + "\n"}
}

// CASES B1 to B14 and A18 to A24, as far as a configuration tells them.
var rows = []row{
	// CASES B3
	{"a key with a letter too few", "", []string{lastLine, lastLine + "    dimension plan=$plan\n"}, "main.conf:25: error: dimension: want an option of amberflo or of Fluent Bit, got one that neither has, with which Fluent Bit 5.1.1 does not start, and which older ones may skip; did you mean dimensions?"},
	{"a key of another output", "", []string{lastLine, lastLine + "    use_put_object on\n"}, "error: use_put_object: want an option"},
	{"Fluent Bit's own keys", "", []string{lastLine, lastLine + "    net.keepalive on\n    tls.verify off\n    Log_Level warn\n    Alias x\n"}, ""},
	{"an option twice", "", []string{lastLine, lastLine + "    bucket c\n"}, "main.conf:25: error: bucket: want it once, got it in line 18 already: Fluent Bit 5.1.1 does not start with that"},
	// CASES B11
	{"Match twice", "", []string{lastLine, lastLine + "    Match *\n"}, "error: match: want it once, got it in line 17 already: the last one counts"},
	{"an alias twice", "", []string{lastLine, lastLine + "    alias a\n    alias b\n"}, "warning: alias: want it once"},
	{"a group inside of the output", "", []string{lastLine, lastLine + "    [X y]\n        unmatched ignore\n"}, "main.conf:25: error: [X y]: want all options directly below [OUTPUT], got a group"},
	{"a YAML string of spaces", inYAML, []string{yamlLast, yamlLast + "      profile: '  '\n"}, "error: profile: want a string, got only spaces, with which Fluent Bit does not start"},
	{"a YAML string of nothing", inYAML, []string{"$tenant", "''"}, "main.yaml:10: error: customer_id: want a string, got an empty one: the default would count"},
	{"a YAML key without a value", inYAML, []string{"$tenant", ""}, "error: customer_id: want a string, got an empty one"},
	{"a YAML list of nothing", inYAML, []string{yamlLast, yamlLast + "      dimensions: []\n"}, "error: dimensions: want one string, got a map or an empty list, with which Fluent Bit does not start"},
	{"a YAML map", inYAML, []string{yamlLast, yamlLast + "      dimensions: {a: $b}\n"}, "error: dimensions: want one string, got a map"},
	{"a YAML list of one", inYAML, []string{"$tenant", "[$tenant]"}, ""},
	// CASES B2
	{"an accessor in quotes", "", []string{"$tenant", `"$tenant"`}, "main.conf:20: error: customer_id: want "},
	{"an accessor in quotes within those of YAML", inYAML, []string{"$tenant", `"'$tenant'"`}, "main.yaml:10: error: customer_id: want "},
	{"a condition and functions of values", "", []string{"meters ApiCalls=1, BytesOut=$bytes", "meters ApiCalls=1, Seconds=sum(ms($spent)), Bytes=$in+$out\n    only_if $status in (200, 201) and $user is present\n    absent -, none\n    unique_id hash($path, $offset, $log), generate"}, ""},
	// CASES B4
	{"a YAML list", inYAML, []string{yamlLast, yamlLast + "      dimensions: [region, plan=$plan]\n"}, "main.yaml:15: error: dimensions: want one string, got a list, with which Fluent Bit 5.1.1 does not start, and of which older ones take the first item, for example: dimensions: region, plan=$plan"},
	{"a value that the plugin does not take", "", []string{"$tenant", "$tenant.id"}, "main.conf:20: error: customer_id: want "},
	{"options that cannot be right together", "", []string{lastLine, lastLine + "    meter_value 1\n"}, "error: meter_value: want "},
	{"a comment after a value", "", []string{"Match app.*", "Match app.* # all"}, "main.conf:17: error: Match: want a comment on a line of its own"},

	{"a comment after a tag", "", []string{"Tag app.log", "Tag app.log # of the application"}, "main.conf:9: error: Tag: want a comment on a line of its own"},
	{"Workers in words", "", []string{"Workers 1", "Workers one"}, `warning: workers: want 1 or more, got "one"`},

	// CASES B9
	{"a variable that is not set", "", []string{"bucket b", "bucket ${AMBERFLO_TEST_UNSET}"}, "main.conf:18: error: bucket: want a value for ${AMBERFLO_TEST_UNSET}, got none: it is not set here"},
	{"a variable of the input that is not set", "", []string{"/var/log/a.log", "${AMBERFLO_TEST_UNSET}/a.log"}, "main.conf:8: error: path: want a value for ${AMBERFLO_TEST_UNSET}"},
	{"a variable with a default", "", []string{"bucket b", "bucket ${AMBERFLO_TEST_UNSET:-b}"}, ""},
	// CASES B10
	{"a variable that is set to nothing", "", []string{"[SERVICE]", "@SET X=\n[SERVICE]", "$tenant", "${X}"}, "main.conf:21: error: customer_id: want a value for ${X}, got none: it is set to nothing by the configuration itself"},
	{"a variable that is set to nothing, with a default", "", []string{"[SERVICE]", "@SET X=\n[SERVICE]", "$tenant", "${X:-$tenant}"}, "error: customer_id: want a value for ${X}"},

	// CASES B7
	{"a Match that fits no tag", "", []string{"Match app.*", "Match api.*"}, `main.conf:17: error: match: want a pattern that matches one of the tags app.log, got "api.*": no record would come, for example: Match app.*`},
	{"a Match in another case", "", []string{"Match app.*", "Match App.*"}, "error: match: want a pattern"},
	{"a list of patterns", "", []string{"Match app.*", "Match app.*, api.*"}, "error: match: want a pattern"},
	{"a Match_Regex that fits no tag", "", []string{"Match app.*", "Match_Regex ^api"}, "error: match_regex: want a pattern"},
	{"a Match_Regex that fits", "", []string{"Match app.*", `Match_Regex ^app\.(log|x)$`}, ""},
	{"no Match with one input and one output", "", []string{"    Match app.*\n", ""}, "error: match: want the tags whose records it takes, got nothing: no record would come"},
	{"no Match with one input and one output, and nothing on disk", "", []string{"    Match app.*\n", "", "    storage.path /var/lib/x/chunks\n", "", "    storage.type filesystem\n", "", "Name tail", "Name dummy", "    Parser lines\n", ""}, ""},
	{"no Match with two outputs", "", []string{"    Match app.*\n", "", "[SERVICE]", "[OUTPUT]\n    Name null\n    Match *\n[SERVICE]"}, "error: match: want the tags whose records it takes, got nothing"},
	{"a tag by default", "", []string{"    Tag app.log\n", "", "Match app.*", "Match tail.0"}, ""},
	{"a tag by default that does not fit", "", []string{"    Tag app.log\n", ""}, "one of the tags tail.0, got"},
	{"a tag that tail makes of the path", "", []string{"Tag app.log", "Tag kube.*", "Match app.*", "Match kube.var.log.containers.*"}, ""},
	{"a tag that tail makes of the path by an expression", "", []string{"Tag app.log", "Tag app.<name>.x\n    Tag_Regex (?<name>.*)", "Match app.*", "Match app.y.x"}, ""},
	{"a tag that the sender chooses", "", []string{"Name tail", "Name forward", "    Tag app.log\n", "", "    Parser lines\n", "", "Match app.*", "Match anything"}, ""},
	{"a tag that the input overrides", "", []string{"Name tail", "Name forward", "    Parser lines\n", "", "Match app.*", "Match anything"}, "error: match: want a pattern"},
	{"a tag that is the path of a request", "", []string{"Name tail", "Name http", "    Tag app.log\n", "", "    Parser lines\n", "", "Match app.*", "Match v1.logs"}, ""},
	{"a tag that is the path of a request beside one of its own", "", []string{"Name tail", "Name http", "    Parser lines\n", "", "Match app.*", "Match v1.logs"}, "main.conf:16: warning: match: want a pattern that matches the tag app.log of the input http.0"},
	{"a tag of OpenTelemetry", "", []string{"Name tail", "Name opentelemetry", "    Parser lines\n", "", "Match app.*", "Match v1_logs"}, "error: match: want a pattern that matches one of the tags app.log"},
	{"a tag by the prefix of a sender", "", []string{"Name tail", "Name forward", "Tag app.log", "Tag_Prefix app.", "    Parser lines\n", "", "Match app.*", "Match web.*"}, "one of the tags app.*, got"},
	{"a filter of other records of a sender", "", append(filter("Name parser", "Key_Name log", "Parser casts"), "Match app.*", "Match web.*", "Name tail", "Name forward", "    Tag app.log\n", "", "    Parser lines\n", ""), ""},
	{"two outputs of a sender's records that bill others", "", []string{"Name tail", "Name forward", "    Tag app.log\n", "", "    Parser lines\n", "", "[SERVICE]", "[OUTPUT]\n    Name amberflo\n    Match web.*\n    bucket b\n    store_dir /o\n    customer_id $tenant\n    meter_api_name ApiCalls\n    meter_value 1\n    Workers 1\n    Retry_Limit no_limits\n[SERVICE]"}, ""},
	{"a tag of the record", "", []string{"Name tail", "Name http", "    Parser lines\n", "    Tag_Key $t\n", "Match app.*", "Match v1.logs"}, ""},
	{"a tag that rewrite_tag makes", "", append(filter("Name rewrite_tag", "Rule $kind ^api$ billed.$TAG[1] false", emitter[4:]), "Match app.*\n    bucket", "Match billed.*\n    bucket"), ""},
	{"a tag that rewrite_tag makes of the old one", "", append(filter("Name rewrite_tag", "Rule $kind ^api$ billed.$TAG false", emitter[4:]), "Match app.*\n    bucket", "Match billed.app.log\n    bucket"), ""},
	{"a tag that rewrite_tag does not make", "", append(filter("Name rewrite_tag", "Rule $kind ^api$ billed.$TAG false", emitter[4:]), "Match app.*\n    bucket", "Match billed.log\n    bucket"), "one of the tags app.log, billed.app.log, got"},
	{"two routes to one output", "service:" + strings.TrimPrefix(inYAML, "service:"), []string{"skip_long_lines: on, read_from_head: on}", "skip_long_lines: on, routes: {logs: [{name: a, to: {outputs: [amberflo.0]}}, {name: b, to: {outputs: [amberflo.0]}}]}}"}, "error: routes: want one route to an output, got two"},

	{"two outputs that bill the same", "", []string{"[SERVICE]", "[OUTPUT]\n    Name amberflo\n    Match *\n    bucket b\n    store_dir /o\n    customer_id $tenant\n    meter_api_name ApiCalls\n    meter_value 1\n    Workers 1\n    Retry_Limit no_limits\n[SERVICE]"}, "error: match: want other records or other meters than the output at main.conf:1 has, got the tag app.log and the meter ApiCalls in both"},
	{"two outputs with meters of their own", "", []string{"[SERVICE]", "[OUTPUT]\n    Name amberflo\n    Match *\n    bucket b\n    store_dir /o\n    customer_id $tenant\n    meter_api_name Logins\n    meter_value 1\n    Workers 1\n    Retry_Limit no_limits\n[SERVICE]"}, ""},
	{"two outputs with buckets of their own", "", []string{"[SERVICE]", "[OUTPUT]\n    Name amberflo\n    Match *\n    bucket c\n    store_dir /o\n    customer_id $tenant\n    meter_api_name ApiCalls\n    meter_value 1\n    Workers 1\n    Retry_Limit no_limits\n[SERVICE]"}, ""},

	// CASES B5
	{"no Retry_Limit", "", []string{lastLine, ""}, "main.conf:15: warning: retry_limit: want no_limits, got nothing: where a host does not let the output set it by itself"},
	{"a Retry_Limit", "", []string{lastLine, "    Retry_Limit 5\n"}, `main.conf:24: warning: retry_limit: want no_limits, got "5"`},
	{"Retry_Limit in another word", "", []string{lastLine, "    Retry_Limit False\n"}, ""},
	{"no Workers", "", []string{"    Workers 1\n", ""}, "main.conf:15: warning: workers: want 1 or more, got nothing"},
	{"a limit of chunks", "", []string{lastLine, lastLine + "    storage.total_limit_size 5G\n"}, `error: storage.total_limit_size: want no limit, got "5G"`},
	{"daemon mode", "", []string{"Daemon Off", "Daemon On"}, `main.conf:3: error: daemon: want Off, got "On"`},
	{"chunks in memory", "", []string{"    storage.type filesystem\n", ""}, "main.conf:6: error: storage.type: want filesystem for the input tail.0, got nothing"},
	{"chunks on disk for all inputs", "", []string{"    storage.type filesystem\n", "", "    Flush 1\n", "    storage.type filesystem\n    storage.inherit on\n"}, ""},
	{"chunks on disk for all inputs that does not reach them", "", []string{"    storage.type filesystem\n", "", "    Flush 1\n", "    storage.type filesystem\n"}, "error: storage.type: want filesystem for the input tail.0"},
	{"metrics, which come to no output in Go", "", []string{"[OUTPUT]\n", "[INPUT]\n    Name fluentbit_metrics\n    Tag app.metrics\n[OUTPUT]\n"}, ""},
	{"metrics alone", "", []string{"Name tail", "Name node_exporter_metrics"}, "warning: input: want inputs of logs"},
	{"a ring in memory", "", []string{"storage.type filesystem", "storage.type memrb"}, "the oldest chunks are dropped"},
	{"a bound of the memory of what is sent", "", []string{"Name tail", "Name tcp", "storage.type filesystem", "Mem_Buf_Limit 5M", "    Parser lines\n", ""}, "beyond Mem_Buf_Limit 5M what is sent is not taken"},
	{"chunks on disk without a directory", "", []string{"    storage.path /var/lib/x/chunks\n", ""}, "main.conf:1: error: storage.path: want a directory for chunks on disk, got nothing, with which Fluent Bit does not start"},
	{"a tail without DB", "", []string{"    DB /var/lib/x/tail.db\n", "", "    Read_from_Head On\n", ""}, "main.conf:6: error: db: want a file for the position in the logs, got nothing: what is written while Fluent Bit does not run is lost"},
	{"a tail without DB that begins at the head", "", []string{"    DB /var/lib/x/tail.db\n", ""}, "each start reads and bills all lines again"},
	{"a tail that stops at long lines", "", []string{tailLine, ""}, "warning: skip_long_lines: want On, got nothing: after a line longer than Buffer_Max_Size (32K)"},
	{"rewrite_tag in memory", "", filter("Name rewrite_tag", "Rule $kind ^api$ app.api false"), "main.conf:15: error: emitter_storage.type: want filesystem, got nothing: what waits in the filter rewrite_tag is lost at a stop"},
	{"multiline in memory", "", filter("Name multiline", "multiline.parser go", "multiline.key_content log"), "error: emitter_storage.type: want filesystem"},
	{"multiline without a buffer", "", filter("Name multiline", "multiline.parser go", "Buffer Off"), ""},
	{"rewrite_tag of other records", "", []string{"[OUTPUT]\n", "[FILTER]\n    Match other.*\n    Name rewrite_tag\n    Rule $kind ^api$ else false\n[OUTPUT]\n"}, `main.conf:16: warning: match: want a pattern that matches one of the tags app.log, got "other.*": the filter rewrite_tag does nothing`},
	{"rewrite_tag that keeps what it moves", "", filter("Name rewrite_tag", "Rule $kind ^api$ app.api true", emitter[4:]), "error: rule: want an output that matches the old tag or the new one, got"},
	{"the first of two rules", "", filter("Name rewrite_tag", "Rule $kind ^api$ app.api true", "Rule $kind ^web$ app.web false", emitter[4:]), "main.conf:18: error: rule: want an output that matches the old tag or the new one, got"},
	{"the first of two parsers", "", filter("Name parser", "Key_Name log", "Parser nobodys", "Parser lines", "Reserve_Data On"), `main.conf:19: error: parser: want a parser of Parsers_File, got "nobodys"`},
	{"rewrite_tag that keeps what it moves elsewhere", "", filter("Name rewrite_tag", "Rule $kind ^api$ api.log true", emitter[4:]), ""},
	{"a filter that drops", "", filter("Name throttle", "Rate 10"), "warning: name: want no bound on how many records come, got throttle"},
	{"a filter in Lua", "", filter("Name lua", "script a.lua", "call f"), "warning: name: want integers below 10^15 after a Lua filter"},

	// CASES B6
	{"no parser", "", []string{"    Parser lines\n", ""}, "main.conf:6: error: parser: want a parser, or a filter that makes fields, since customer_id names $tenant, got nothing: each line is one string in the field log"},
	{"no parser and containers' lines", "", []string{"Parser lines", "multiline.parser docker, cri"}, "error: parser: want a parser, or"},
	{"no parser but a filter with one", "", append(filter("Name parser", "Key_Name log", "Parser lines"), "    Parser lines\n    DB", "    DB"), ""},
	{"no parser and a mapping of the line's place", "", []string{"    Parser lines\n", "    Path_Key file\n", "$tenant", "$file", "BytesOut=$bytes", "Lines=1", "meter_time $time", "meter_time event"}, ""},
	{"a parser that nobody defines", "", []string{"Parser lines", "Parser json_lines"}, `main.conf:10: error: parser: want a parser of Parsers_File, got "json_lines", which no file defines`},
	{"a file of parsers that is not there", "", []string{"parsers.conf", "nowhere.conf"}, "main.conf:4: error: parsers_file: want a file of parsers that Fluent Bit can read"},
	{"a parser in the main file", "", []string{"[SERVICE]", "[PARSER]\n    Name x\n    Format json\n[SERVICE]"}, "main.conf:1: error: parser: want parsers in a file that Parsers_File of [SERVICE] names"},
	{"no parser, and Kubernetes' filter without Merge_Log", "", append(filter("Name kubernetes"), "Parser lines", "multiline.parser docker, cri"), "error: parser: want a parser, or a filter that makes fields"},
	{"no parser, and Kubernetes' filter with Merge_Log", "", append(filter("Name kubernetes", "Merge_Log On"), "Parser lines", "multiline.parser docker, cri"), ""},
	{"a parser beside a multiline parser", "", []string{"Parser lines", "Parser lines\n    multiline.parser go"}, "main.conf:10: error: parser: want either Parser or multiline.parser, got both, of which Fluent Bit applies multiline.parser alone"},
	{"containers' lines as they are", "", append(filter("Name kubernetes", "Merge_Log On"), "Parser lines", "Key log", "/var/log/a.log", "/var/log/containers/*.log"), "warning: multiline.parser: want docker, cri for the logs of containers"},
	{"a parser's option with a letter wrong", "", append(filter("Name parser", "Key_Name log", "Parser typo"), "Parser lines\n", "Key log\n"), "error: time_formt: want an option of a parser, got one that it does not have, which Fluent Bit never says; did you mean time_format?"},
	{"a time without an offset", "", []string{"Parser lines", "Parser local", "meter_time $time", "meter_time event"}, "warning: time_format: want %z in it, or Time_Offset or Time_Zone beside it"},
	{"a section that Fluent Bit does not have", "", []string{"[SERVICE]", "[OUPUT]\n    Name amberflo\n[SERVICE]"}, "main.conf:1: error: [OUPUT]: want SERVICE, INPUT, FILTER, OUTPUT or another section that Fluent Bit has"},
	{"a filter without Match", "", []string{"[OUTPUT]\n", "[FILTER]\n    Name grep\n    Regex a .\n[OUTPUT]\n"}, "main.conf:15: error: match: want the tags whose records it takes, got nothing, with which Fluent Bit does not start"},
	{"a filter that takes a field away", "", filter("Name record_modifier", "Remove_key bytes"), `main.conf:18: error: remove_key: want the field bytes kept, since meters names it, got "bytes"`},
	{"a filter that renames a field", "", filter("Name modify", "Rename tenant customer"), "error: rename: want the field tenant kept, since customer_id names it"},
	{"a filter that renames another", "", filter("Name modify", "Rename customer tenant"), ""},
	{"a filter that keeps some fields", "", filter("Name record_modifier", "Allowlist_key tenant"), "error: allowlist_key: want bytes among the fields that are kept, since meters names it, got tenant"},
	{"a file that two inputs read", "", []string{"[OUTPUT]\n", "[INPUT]\n    Name tail\n    Tag app.more\n    Path /var/log/b.log, /var/log/*.log\n    Parser lines\n    DB /x\n    storage.type filesystem\n    Skip_Long_Lines On\n    Read_from_Head On\n[OUTPUT]\n"}, `main.conf:18: error: path: want files that no other input reads, got "/var/log/*.log", of which the input at main.conf:6 reads some too`},
	{"a file that two inputs do not both read", "", []string{"[OUTPUT]\n", "[INPUT]\n    Name tail\n    Tag app.more\n    Path /var/log/b.log, /var/log/x/*.log\n    Parser lines\n    DB /x\n    storage.type filesystem\n    Skip_Long_Lines On\n    Read_from_Head On\n[OUTPUT]\n"}, ""},
	// CASES A19
	{"lines in parts", "", append(filter("Name parser", "Key_Name log", "Parser lines"), "Name tail", "Name forward", "    Parser lines\n    DB", "    DB"), "warning: name: want a filter multiline with Mode partial_message in front of it"},
	{"lines in parts that are joined", "", append(filter("Name multiline", "multiline.key_content log", "Mode partial_message", "Emitter_Storage.type filesystem", "[FILTER]", "Match *", "Name parser", "Key_Name log", "Parser lines"), "Name tail", "Name forward", "    Parser lines\n    DB", "    DB", "    [FILTER]", "[FILTER]"), ""},
	{"a YAML map of an input", inYAML, []string{"tag: app.log", "tag: {a: b}", "app.*", "'*'"}, "main.yaml:4: error: tag: want one string, got a map or an empty list, with which Fluent Bit does not start"},
	{"a DB that two inputs use", "", []string{"[OUTPUT]\n", "[INPUT]\n    Name tail\n    Tag app.more\n    Path /var/log/x/b.log\n    Parser lines\n    DB /var/lib/x/tail.db\n    storage.type filesystem\n    Skip_Long_Lines On\n    Read_from_Head On\n[OUTPUT]\n"}, "main.conf:20: error: db: want a file that no other input uses"},
	{"no store_dir", "", []string{"    store_dir /var/lib/x/amberflo\n", ""}, "main.conf:15: warning: store_dir: want a directory that outlives the machine's restarts, got nothing"},
	{"a store_dir among Fluent Bit's chunks", "", []string{"store_dir /var/lib/x/amberflo", "store_dir /var/lib/x/chunks/amberflo"}, "main.conf:19: error: store_dir: want a directory beside storage.path"},
	{"a store_dir that outputs share", "", sharing("    Alias a\n", "    Alias b\n"), ""},
	{"a store_dir that outputs without a name share", "", sharing("", ""), "warning: alias: want an Alias for each of the outputs that share a store_dir, got none"},
	{"a store_dir that outputs of one name share", "", sharing("    Alias a\n", "    Alias a\n"), `error: alias: want a name of its own for each output, got "a", which the output at main.conf:15 has`},
	{"a store_dir that outputs of other objects share", "", sharing("    Alias a\n", "    Alias b\n    max_records 5\n"), "error: max_records: want what the output at main.conf:15 has (nothing), since both use one store_dir, got \"5\""},
	// CASES A23
	{"a type that is cast to an integer", "", []string{"Parser lines", "Parser casts"}, `parsers.conf:15: error: types: want no type for bytes, which meters names, got "bytes:integer": "-" becomes 0, "1,234" becomes 1`},
	{"a customer that is cast", "", []string{"Parser lines", "Parser names"}, "want no type for tenant, which customer_id names"},
	{"a value that is cast to a float", "", []string{"Parser lines", "Parser fractions"}, "digits beyond the 15th are lost"},
	{"a type of digits alone", "", []string{"Parser lines", "Parser access", "meter_time $time", "meter_time event"}, ""},
	{"a type of a parser after a filter", "", filter("Name parser", "Key_Name log", "Parser casts"), "error: types: want no type for bytes"},
	{"a time that the parser takes away", "", []string{"Parser lines", "Parser access"}, "parsers.conf:4: error: time_keep: want On, since meter_time names $time, got nothing"},
	{"a time that the parser takes away, and the event's", "", []string{"Parser lines", "Parser access", "meter_time $time", "meter_time $time, event"}, ""},

	// CASES A24
	{"a processor in Lua", inYAML, []string{yamlLast, yamlLast + "      processors: {logs: [{name: lua, call: f, code: x}]}\n"}, "main.yaml:15: error: name: want processors of an output that make the same of a record each time, got lua"},
	{"a processor that adds a uuid", inYAML, []string{yamlLast, yamlLast + "      processors: {logs: [{name: record_modifier, uuid_key: id}]}\n"}, "error: name: want processors of an output that make the same"},
	{"a processor that is not known", inYAML, []string{yamlLast, yamlLast + "      processors: {logs: [{name: new_one}]}\n"}, "warning: name: want processors of an output that make the same of a record each time, got new_one, of which that is not known"},
	// CASES B12
	{"a processor that rewrites", inYAML, []string{yamlLast, yamlLast + "      processors: {logs: [{name: content_modifier, action: upsert, key: tenant, value: x}]}\n"}, "warning: name: want samples as records are after content_modifier: meterctl map does not apply processors"},
	{"a processor that changes nothing", inYAML, []string{yamlLast, yamlLast + "      processors: {logs: [{name: stdout}]}\n"}, ""},

	// CASES A20
	{"numbers of OpenTelemetry", "", []string{"Name tail", "Name opentelemetry", "    Parser lines\n", ""}, "warning: name: want strings, or numbers below 2^31, for $tenant, which customer_id names"},
	// CASES A21
	{"rewrite_tag and a group", "", append(filter("Name rewrite_tag", "Rule $kind ^api$ app.api false", emitter[4:]), "$tenant", "$group['resource']['tenant']"), "error: name: want no rewrite_tag where the mapping names $group"},
	// CASES B1
	{"a customer that looks like a field", "", []string{"$tenant", "tenant_id"}, `main.conf:20: warning: customer_id: want an accessor such as $tenant_id if that is a field, got the string "tenant_id" for all records`},
	{"a customer by the name of a field of the parser", "", []string{"$tenant", "size", "Parser lines", "Parser access", "meter_time $time", "meter_time event"}, "warning: customer_id: want an accessor such as $size"},
	{"a customer by a path", "", []string{"$tenant", "record.tenant"}, "warning: customer_id: want an accessor such as $record.tenant"},
	{"a customer by a template of another program", "", []string{"$tenant", "%{tenant}"}, "error: customer_id: want an accessor such as $tenant, or a name"},
	{"a dimension that is its own name", "", []string{lastLine, lastLine + "    dimensions plan=plan, region=eu\n"}, `warning: dimensions: want plan, or plan=$field, got "plan=plan"`},
	{"a customer by a name of its own", "", []string{"$tenant", "acme-prod"}, ""},
	{"a meter that looks like a field", "", []string{"meters ApiCalls=1, BytesOut=$bytes", "meter_api_name method\n    meter_value 1"}, "warning: meter_api_name: want an accessor such as $method"},
	{"an id that lasts and a time that does not", "", []string{"    meter_time $time\n", "    unique_id $request_id\n"}, "warning: meter_time: want a field of the line, since unique_id names one, got nothing"},
	{"an id and a time that last", "", []string{lastLine, lastLine + "    unique_id $request_id, generate\n"}, ""},
	{"an id that lasts and a parser with a time", "", []string{"    meter_time $time\n", "    unique_id $size\n", "Parser lines", "Parser access"}, ""},
}

func TestEachFaultIsNamed(t *testing.T) {
	for _, test := range slices.Concat(rows, changedRows, mistakenRows) {
		t.Run(test.name, func(t *testing.T) {
			conf := test.conf
			if conf == "" {
				conf = classic
			}
			got := findings(t, conf, test.replace...)
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got\n%swant %q in it", got, test.want)
			}
		})
	}
}

func TestAConfigurationWithoutTheOutputIsSaid(t *testing.T) {
	if got := findings(t, classic, "Name amberflo", "Name null"); !strings.Contains(got, "error: name: want an output whose name is amberflo, got none") {
		t.Errorf("got %s", got)
	}
}
