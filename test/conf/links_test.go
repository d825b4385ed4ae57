package conf

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"out_amberflo/test/encode"
)

// documents are all *.md of the repository, by their paths in it.
func documents(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		in, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "bin", "build", "dist", "testdata"}, entry.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(in) == ".md" {
			files = append(files, filepath.ToSlash(in))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	fence = regexp.MustCompile("(?ms)^```.*?^```$")
	code  = regexp.MustCompile("(?m)^    .*$|`[^`\n]*`")
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// anchors are what a heading can be linked by, as GitHub makes them.
func anchors(text string) (list []string) {
	seen := map[string]int{}
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, m[1])
		n := seen[slug]
		seen[slug]++
		if n > 0 {
			slug += "-" + strconv.Itoa(n)
		}
		list = append(list, slug)
	}
	return list
}

func TestEachLinkLeadsSomewhere(t *testing.T) {
	files := documents(t)
	if len(files) < 15 {
		t.Fatalf("%d documents found, want at least 15: are they looked for rightly?", len(files))
	}
	linked := map[string]bool{"README.md": true}
	links := 0
	for _, file := range files {
		text := code.ReplaceAllString(fence.ReplaceAllString(string(read(t, root, file)), ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			to, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if to != "" {
				target = path.Join(path.Dir(file), to)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
				continue
			}
			if target != file {
				linked[target] = true
			}
			if anchor != "" && !slices.Contains(anchors(string(read(t, root, target))), anchor) {
				t.Errorf("%s links to %s: %s has no heading of that name", file, m[1], target)
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links found, want at least 50: are they read rightly?", links)
	}
	for _, file := range files {
		// Those of .github are GitHub's to show.
		if !linked[file] && !strings.HasPrefix(file, ".github/") {
			t.Errorf("no document links to %s", file)
		}
	}
}

func TestTheReadmeIsReadInTwoMinutes(t *testing.T) {
	if n := strings.Count(string(read(t, root, "README.md")), "\n"); n > 170 {
		t.Errorf("README.md has %d lines, want at most 170", n)
	}
}

// What a document names as a file of the repository, or as a target of make, has to be there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	makefile := string(read(t, root, "Makefile"))
	for m := range slices.Values(regexp.MustCompile(`(?m)^include (\S+)$`).FindAllStringSubmatch(makefile, -1)) {
		makefile += string(read(t, root, m[1]))
	}
	inRepository := regexp.MustCompile("(?:^|[\\s`]|\\./)((?:conf|docker|docs|plugin|cmd|test|\\.ci|\\.github)/[\\w./*-]*\\w)")
	target := regexp.MustCompile(`\bmake ([a-z]+)\b`)
	for _, file := range documents(t) {
		for _, m := range code.FindAllString(string(read(t, root, file)), -1) {
			for _, name := range inRepository.FindAllStringSubmatch(m, -1) {
				// From the top, or from where the document lies.
				top, err := filepath.Glob(filepath.Join(root, name[1]))
				beside, err2 := filepath.Glob(filepath.Join(root, path.Dir(file), name[1]))
				if err != nil || err2 != nil || len(top)+len(beside) == 0 {
					t.Errorf("%s names %s, which is not there", file, name[1])
				}
			}
			for _, name := range target.FindAllStringSubmatch(m, -1) {
				if !regexp.MustCompile(`(?m)^` + name[1] + `:`).MatchString(makefile) {
					t.Errorf("%s names make %s, which is no target", file, name[1])
				}
			}
		}
	}
}

// indented are the blocks of code of a document.
func indented(text string) (blocks []string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(part, "    ") {
			blocks = append(blocks, regexp.MustCompile(`(?m)^    `).ReplaceAllString(strings.TrimRight(part, "\n"), ""))
		}
	}
	return blocks
}

// A line of a log, a mapping, and the records that come of it, as they stand in a document.
func TestTheExamplesOfTheDocumentsAreRight(t *testing.T) {
	for _, file := range []string{"README.md", configuration} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			blocks := indented(string(read(t, root, file)))
			at := slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, `{"tenant":`) })
			if at < 0 || at+2 >= len(blocks) {
				t.Fatalf("%s has no line of a log, mapping and records, one after the other", file)
			}
			line, output := blocks[at], blocks[at+1]
			if !strings.HasPrefix(output, "[OUTPUT]\n") {
				output = "[OUTPUT]\n    Name amberflo\n    Match *\n    bucket 183-amberflo\n    region us-west-2\n    store_dir /spool\n    " + strings.ReplaceAll(output, "\n", "\n    ")
			}
			s := newSite(t)
			s.adapt("example.conf", regexp.MustCompile(`(?m)^( *store_dir +).*$`).ReplaceAllString(output, "${1}"+s.path("spool"))+"\n")
			if _, err := s.viaHost("example.conf", "app.log", encode.Event(nil, time.Now(), nil, decode(t, []byte(line)))); err != nil {
				t.Fatal(err)
			}
			want := strings.Split(regexp.MustCompile(`"uniqueId":"…-\d+"`).ReplaceAllString(blocks[at+2], `"uniqueId":"(generated)"`), "\n")
			if got := s.records(); !slices.Equal(got, want) {
				t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// docs/design.md says who may import whom.
func TestDesignNamesWhoMayImportWhom(t *testing.T) {
	whole := func(name string) string {
		if top, _, _ := strings.Cut(name, "/"); slices.Contains([]string{"out_amberflo", "plugin", "cmd"}, top) {
			return name
		}
		return "plugin/" + name
	}
	allowed := map[string][]string{}
	for _, cells := range rows(document(t, "docs/design.md", "## Packages", "## What was decided against, and why"), "package") {
		if len(cells) != 2 {
			continue
		}
		for _, m := range inCode.FindAllStringSubmatch(cells[0], -1) {
			if strings.HasSuffix(m[1], "/") { // of the table that says what they hold
				continue
			}
			for _, to := range inCode.FindAllStringSubmatch(cells[1], -1) {
				allowed[m[1]] = append(allowed[m[1]], whole(to[1]))
			}
			allowed[m[1]] = append(allowed[m[1]], m[1])
		}
	}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		in, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(in))
		top, _, _ := strings.Cut(dir, "/")
		if filepath.Ext(in) != ".go" || strings.HasSuffix(in, "_test.go") || !slices.Contains([]string{"plugin", "out_amberflo", "cmd"}, top) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := dir
		if strings.HasPrefix(dir, "cmd/meterctl") {
			from = "cmd/meterctl"
		}
		if allowed[from] == nil {
			t.Errorf("docs/design.md does not say what %s may import", from)
			return nil
		}
		for _, i := range file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			to, ours := strings.CutPrefix(imported, "out_amberflo/")
			if ours && !slices.Contains(allowed[from], to) && !(from == "cmd/meterctl" && strings.HasPrefix(to, from+"/")) {
				t.Errorf("%s imports %s, which docs/design.md does not allow", in, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
