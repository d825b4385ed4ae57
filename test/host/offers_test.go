package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A definition without room for a table gets none, and an entry is as long as the host has it, whichever it is.
func TestOptionsAreOfferedWhereThereIsRoomAndNothingIsWrittenElsewhere(t *testing.T) {
	const three = "0 bucket = : the bucket\n5 total_file_size = 50M: an object's end\n3 hide_secrets = true: no secrets\n"
	for _, abi := range []string{"2.1", "4.2.3", "5.1.1"} {
		for _, entries := range []string{"0", "96", "104"} {
			want := ""
			if abi == "5.1.1" && entries != "0" {
				want = three
			}
			args := []string{hostProgram, "-e", offeringPlugin, "--abi", abi, "--entries", entries, "--options"}
			t.Run(abi+" with entries of "+entries, func(t *testing.T) {
				wantOptions(t, want, args)
			})
			t.Run(abi+" with entries of "+entries+", under valgrind", func(t *testing.T) {
				t.Parallel()
				valgrind, err := exec.LookPath("valgrind")
				if err != nil {
					t.Skip("no valgrind on PATH")
				}
				wantOptions(t, want, append([]string{valgrind, "--quiet", "--error-exitcode=9"}, args...))
			})
		}
	}
}

func wantOptions(t *testing.T, want string, args []string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%v, stderr %q, want success in silence", err, &stderr)
	}
	if stdout.String() != want {
		t.Errorf("got the options\n%s\nwant\n%s", &stdout, want)
	}
}

// An allocator may say that there is room in the shorter definition too, and be another than the one that the host has.
func TestNoOptionsAreOfferedWhereTheAllocatorLeavesADoubt(t *testing.T) {
	for _, test := range []struct{ name, allocator, abi, want string }{
		{"exact blocks", "", "4.2.3", "taken: 0\n"},
		{"exact blocks", "", "5.1.1", "taken: 1\n"},
		{"rounded blocks", roundingAllocator, "4.2.3", "taken: 0\n"},
		{"rounded blocks", roundingAllocator, "5.1.1", "taken: 0\n"},
		{"an allocator with a prefix", prefixedAllocator, "5.1.1", "taken: 0\n"},
	} {
		t.Run(test.name+" on "+test.abi, func(t *testing.T) {
			cmd := exec.Command(hostProgram, "-e", offeringPlugin, "--abi", test.abi, "--entries", "104", "--options")
			cmd.Env = append(os.Environ(), "OFFERS_TELL=1", "LD_PRELOAD="+test.allocator)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil || stderr.String() != test.want {
				t.Errorf("%v, stderr %q, want %q", err, &stderr, test.want)
			}
			if offered := stdout.Len() > 0; offered != (test.want == "taken: 1\n") {
				t.Errorf("got the options\n%s", &stdout)
			}
		})
	}
}
