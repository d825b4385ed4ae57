package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"out_amberflo/cmd/meterctl/show"
)

// hostile are names that an application might log.
var hostile = []string{
	`</script><script>document.title="ran"</script>`, `"><img src=x onerror="document.title='ran'">`, `' onmouseover='document.title="ran"`, "javascript:alert(1)",
	`<svg onload=document.title="ran">`, `</style><style>*{display:none}</style>`, `</title></svg><script>document.title="ran"</script>`, "<!--", "]]>", "{{.Of}}", "\u202e\u2066drowssap", "a\x1b[31m\x00b",
	"&lt;b&gt;", strings.Repeat("long", 5000), "data:text/html,<script>1</script>", "ﷺ é̂̃ 例え", "`${1}`", "\u2028</script>",
}

func lineOf(customer, meter, value string, millis int64, records int) string {
	line := fmt.Sprintf(`{"customerId":%s,"meterApiName":%s,"meterValue":%s,"meterTimeInMillis":%d`, quoted(customer), quoted(meter), value, millis)
	if records > 1 {
		line += fmt.Sprintf(`,"records":%d,"firstMillis":%d,"lastMillis":%d`, records, millis, millis)
	}
	return line + "}\n"
}

func quoted(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return `"` + text + `"`
	}
	var b bytes.Buffer
	if err := show.JSON(&b, text); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// reported runs report over files, by their content, and gives the page.
func reported(t *testing.T, contents ...string) string {
	t.Helper()
	files := map[string]string{}
	args := []string{"report", "-o", filepath.Join(t.TempDir(), "report.html")}
	for i, content := range contents {
		files[fmt.Sprint(i)] = content
	}
	dir := write(t, files)
	for i := range contents {
		args = append(args, filepath.Join(dir, fmt.Sprint(i)))
	}
	if _, err := meterctl(t, args...); err != nil {
		t.Fatal(err)
	}
	return readFile(t, args[2])
}

const noon = int64(1795168800000)

// element is one of a page, with its text.
type element struct {
	name, path string
	attributes map[string]string
	text       string
	said       strings.Builder // becomes text
}

// elements reads a page, which has to be well-formed XML too.
func elements(t *testing.T, page string) (list []*element) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(page))
	var open []*element
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attributes: map[string]string{}}
			for _, o := range open {
				e.path += o.name + "/"
			}
			for _, a := range token.Attr {
				e.attributes[a.Name.Local] = a.Value
			}
			list, open = append(list, e), append(open, e)
		case xml.EndElement:
			last := open[len(open)-1]
			last.text = last.said.String()
			open = open[:len(open)-1]
		case xml.CharData:
			for _, o := range open {
				o.said.Write(token)
			}
		}
	}
}

// mayBe are the elements and attributes of a page; nothing that comes from a log makes another one.
var (
	mayBe = strings.Fields("html head meta title style body a header h1 h2 h3 p nav ul ol li main section dl div dt dd bdi figure svg desc line text rect figcaption " +
		"details summary table caption thead tbody tfoot tr th td br span strong code")
	mayHave = strings.Fields("lang charset http-equiv content name class href id aria-label aria-labelledby aria-hidden tabindex role viewBox xmlns x x1 x2 y y1 y2 dy width height text-anchor scope")
)

// wellMade checks what holds for every page: for who cannot see it, and for who should not be attacked by it.
func wellMade(t *testing.T, page string) []*element {
	t.Helper()
	list := elements(t, page)
	ids := map[string]bool{}
	for _, e := range list {
		if id := e.attributes["id"]; id != "" {
			if ids[id] {
				t.Errorf("the id %s stands twice", id)
			}
			ids[id] = true
		}
	}
	level := 0
	for _, e := range list {
		if !slices.Contains(mayBe, e.name) {
			t.Errorf("an element %s in %s", e.name, e.path)
		}
		for name, value := range e.attributes {
			switch {
			case !slices.Contains(mayHave, name):
				t.Errorf("%s has %s=%q", e.name, name, value)
			case name == "href" && (!strings.HasPrefix(value, "#") || !ids[value[1:]]):
				t.Errorf("a link to %q", value)
			case name == "aria-labelledby":
				for _, id := range strings.Fields(value) {
					if !ids[id] {
						t.Errorf("%s is labelled by %s, which is not there", e.name, id)
					}
				}
			}
		}
		switch e.name {
		case "h1", "h2", "h3":
			if now := int(e.name[1] - '0'); now > level+1 {
				t.Errorf("%s %q follows a heading of level %d", e.name, e.text, level)
			} else {
				level = now
			}
		case "th":
			if e.attributes["scope"] == "" {
				t.Errorf("a th without scope: %q", e.text)
			}
		case "svg":
			if e.attributes["aria-hidden"] == "" && (e.attributes["role"] != "img" || e.attributes["aria-labelledby"] == "") {
				t.Errorf("a drawing without a name: %v", e.attributes)
			}
		}
	}
	tables, captions := 0, 0
	for _, e := range list {
		switch e.name {
		case "table":
			tables++
		case "caption":
			captions++
		}
	}
	if tables != captions {
		t.Errorf("%d tables have %d captions", tables, captions)
	}
	if strings.Contains(page, "{{") && !strings.Contains(page, "{{.Of}}") {
		t.Error("a piece of the template is left")
	}
	return list
}

func texts(list []*element, name string) (all []string) {
	for _, e := range list {
		if e.name == name {
			all = append(all, e.text)
		}
	}
	return all
}

func TestTheReportAddsUpExactly(t *testing.T) {
	var lines strings.Builder
	for range 10 {
		lines.WriteString(lineOf("acme", "Hours", "0.1", noon, 1))
	}
	lines.WriteString(lineOf("acme", "Bytes", "9007199254740993", noon, 1000) + lineOf("globex", "Bytes", "1e-3", noon+60_000, 1) + lineOf("globex", "Bytes", "9007199254740993", noon, 3))
	lines.WriteString("not json\n" + `{"customerId":"x"}` + "\n\n")
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	_, err := gz.Write([]byte(lineOf("acme", "Hours", "2", noon, 1)))
	if err := errors.Join(err, gz.Close()); err != nil {
		t.Fatal(err)
	}
	array := "[" + strings.TrimSpace(lineOf("acme", "Hours", "3.5", noon, 1)) + ",\n" + strings.TrimSpace(lineOf("initech", "Hours", "-1", noon, 1)) + "]"
	list := wellMade(t, reported(t, lines.String(), packed.String(), array))
	var rows []string
	for _, e := range list {
		if e.name == "tr" {
			rows = append(rows, "")
		} else if (e.name == "td" || e.name == "th") && len(rows) > 0 {
			rows[len(rows)-1] += strings.TrimSpace(e.text) + "|"
		}
	}
	for _, want := range []string{
		"acme|6.5|118.2 %|12|12|", "initech|-1|–|1|1|", "all|5.5||13|13|",
		"globex|9,007,199,254,740,993.001|50.0 %|4|2|", "acme|9,007,199,254,740,993|50.0 %|1,000|1|", "all|18,014,398,509,481,986.001||1,004|3|",
		"2026-11-20 10:00|9,007,199,254,740,993|9,007,199,254,740,993|", "2026-11-20 10:01|0.001|0|",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no row %q in\n%s", want, strings.Join(rows, "\n"))
		}
	}
	if all := strings.Join(texts(list, "p"), "\n"); !strings.Contains(all, "2 lines are no meter records") {
		t.Errorf("got %s", all)
	}
}

func TestNoNameRunsOrHidesInTheReport(t *testing.T) {
	var lines strings.Builder
	for i, name := range hostile {
		for j, meter := range hostile {
			lines.WriteString(lineOf(name, meter, fmt.Sprint(1+i), noon+int64(j)*1000, 1))
		}
	}
	page := reported(t, lines.String())
	list := wellMade(t, page)
	cells := strings.Join(append(texts(list, "th"), texts(list, "h3")...), "\n")
	for _, want := range []string{`</script><script>document.title="ran"</script>`, "javascript:alert(1)", `\u{202e}\u{2066}drowssap`, `a\u{1b}[31m\u{0}b`, "{{.Of}}", "longlong", "… #"} {
		if !strings.Contains(cells, want) {
			t.Errorf("want %q to be read in the tables", want)
		}
	}
	for _, not := range []string{"\u202e", "\u2066", "\x1b", strings.Repeat("long", 20)} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if !strings.Contains(page, `http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;sha256-`) {
		t.Error("no policy that forbids scripts")
	}
}

// A spool whose rejects, tags, keys and failure reports are hostile.
func TestTheReportOfASpool(t *testing.T) {
	dir, key := failed(t)
	attack := hostile[0]
	if err := os.WriteFile(filepath.Join(dir, "failed", key+".reason.txt"), []byte(attack+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "rejected/*/*.ndjson"))
	if err := os.WriteFile(files[0], []byte(fmt.Sprintf(`{"id":"x","reason":%s,"output":%s,"tag":%s,"record":{%s:"secret",%s:{"deep":1}}}`+"\n",
		quoted(attack), quoted(attack), quoted("t"+attack), quoted(attack), quoted(hostile[1]))), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(write(t, map[string]string{"c.conf": "[OUTPUT]\n  Name amberflo\n  bucket b\n  store_dir " + dir + "\n"}), "c.conf")
	to := filepath.Join(t.TempDir(), "report.html")
	before := tree(t, dir)
	if out, err := meterctl(t, "report", "-c", conf, "-o", to); err != nil || !strings.Contains(out, "report.html: ") {
		t.Fatal(err, out)
	}
	if after := tree(t, dir); after != before {
		t.Error("report has changed the spool")
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a page for its owner only", info, err)
	}
	page := readFile(t, to)
	list := wellMade(t, page)
	if strings.Contains(page, "secret") {
		t.Error("the page has a value of a rejected record")
	}
	cells := strings.Join(append(texts(list, "td"), texts(list, "th")...), "\n")
	for _, want := range []string{attack, "t" + attack, key, "no_customer", hostile[1] + ".deep"} {
		if !strings.Contains(cells, want) {
			t.Errorf("want %q in\n%s", want, cells)
		}
	}
	if sections := strings.Join(texts(list, "h2"), "|"); sections != "Needs somebody|Usage|Objects on their way|Rejected records|Failed objects|Newest objects" {
		t.Errorf("got the sections %s", sections)
	}
}

func TestTheReportOfManyCustomersIsSmall(t *testing.T) {
	var lines strings.Builder
	for i := range 200_000 {
		lines.WriteString(lineOf(fmt.Sprintf("customer %06d of a name that is not that short", i), "Calls", fmt.Sprint(i%1000), noon+int64(i)*50, 1))
	}
	for i := range 1000 {
		lines.WriteString(lineOf("c", fmt.Sprintf("meter %d", i), "1", int64(i)*1_000_000_000_000, 1))
	}
	page := reported(t, lines.String())
	list := wellMade(t, page)
	if len(page) > 400_000 {
		t.Errorf("the page has %d bytes", len(page))
	}
	text := strings.Join(texts(list, "th"), "\n")
	if !strings.Contains(text, "199,980 others") || !strings.Contains(strings.Join(texts(list, "caption"), "\n"), "789 more have no row") {
		t.Errorf("want the others named, got\n%s", strings.Join(texts(list, "caption"), "\n"))
	}
}

// browser runs Chromium, with arguments, on a page.
func browser(t *testing.T, page string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on PATH: apt-get install chromium")
	}
	file := filepath.Join(write(t, map[string]string{"report.html": page}), "report.html")
	cmd := exec.Command(path, append(append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--window-size=1000,800"}, args...), "file://"+file)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, said.String())
	}
	return out.String()
}

func hostilePage(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	for _, name := range hostile {
		lines.WriteString(lineOf(name, name, "1", noon, 1))
	}
	return reported(t, lines.String())
}

func TestABrowserRunsNothingOfTheReport(t *testing.T) {
	page := hostilePage(t)
	dom := browser(t, page, "--dump-dom")
	if !strings.Contains(dom, "<title>Usage report, ") || strings.Contains(dom, "<script") || strings.Contains(dom, "<img") || strings.Count(dom, "<style") != 1 {
		t.Errorf("the browser made something else of the page:\n%.2000s", dom)
	}
	// Even if something got in, the policy would not run it.
	infected := strings.Replace(page, "</main>", `<script>document.title="ran"</script><img src="x:" alt="" onerror="document.title='ran'"/></main>`, 1)
	if dom := browser(t, infected, "--dump-dom", "--virtual-time-budget=2000"); !strings.Contains(dom, "<title>Usage report, ") || !strings.Contains(dom, "<script") {
		t.Errorf("the policy let a script run:\n%.2000s", dom)
	}
	free := strings.Replace(infected, `http-equiv="Content-Security-Policy"`, `name="x"`, 1)
	if dom := browser(t, free, "--dump-dom", "--virtual-time-budget=2000"); !strings.Contains(dom, "<title>ran</title>") {
		t.Errorf("without the policy nothing ran either: the test proves nothing:\n%.500s", dom)
	}
}

func TestABrowserShowsTheReportInLightAndDark(t *testing.T) {
	page := hostilePage(t)
	for scheme, want := range map[string]uint32{"1": 0xffffff, "0": 0x0d1117} {
		to := filepath.Join(t.TempDir(), "shot.png")
		browser(t, page, "--screenshot="+to, "--blink-settings=preferredColorScheme="+scheme)
		f, err := os.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		image, err := png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		r, g, b, _ := image.At(3, 300).RGBA()
		if got := r>>8<<16 | g>>8<<8 | b>>8; got != want {
			t.Errorf("color scheme %s: the ground is %06x, want %06x", scheme, got, want)
		}
		colours := map[any]bool{}
		for y := range 800 {
			for x := 0; x < 900; x += 3 {
				colours[image.At(x, y)] = true
			}
		}
		if len(colours) < 20 {
			t.Errorf("color scheme %s: %d colours: is anything shown?", scheme, len(colours))
		}
	}
}
