package creds

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"golang.org/x/sys/unix"
)

// unused are settings of the environment that this package does not use, and what the SDK takes for their values. In a profile
// they have the same names, in small letters and without AWS_.
var unused = map[string]func(string) bool{
	"AWS_MAX_ATTEMPTS":                       isNumber,
	"AWS_RETRY_MODE":                         func(v string) bool { _, err := aws.ParseRetryMode(v); return err == nil },
	"AWS_DEFAULTS_MODE":                      func(v string) bool { mode := aws.DefaultsMode(""); return mode.SetFromString(v) },
	"AWS_REQUEST_CHECKSUM_CALCULATION":       oneOf("when_supported", "when_required"),
	"AWS_RESPONSE_CHECKSUM_VALIDATION":       oneOf("when_supported", "when_required"),
	"AWS_ACCOUNT_ID_ENDPOINT_MODE":           oneOf("preferred", "required", "disabled"),
	"AWS_ENABLE_ENDPOINT_DISCOVERY":          oneOf("true", "false", "auto"),
	"AWS_DISABLE_REQUEST_COMPRESSION":        oneOf("true", "false"),
	"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": func(v string) bool { n, err := strconv.Atoi(v); return err == nil && n >= 0 && n <= 10<<20 },
	"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH":    oneOf("true", "false"),
}

func isNumber(v string) bool { _, err := strconv.Atoi(v); return err == nil }

func oneOf(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, strings.ToLower(v)) }
}

// ignoreUnused takes settings that this package does not use out of the environment where they would keep the SDK from reading
// the rest of it.
func ignoreUnused() {
	for name, valid := range unused {
		if v := os.Getenv(name); v != "" && !valid(v) {
			_ = os.Unsetenv(name)
		}
	}
}

// ofUnused tells if such a setting of a profile is what keeps the SDK from reading the files.
func ofUnused(err error) bool {
	for name := range unused {
		if strings.Contains(err.Error(), "failed to load "+inProfile(name)+" from shared config") {
			return true
		}
	}
	return false
}

func inProfile(variable string) string { return strings.ToLower(strings.TrimPrefix(variable, "AWS_")) }

// loadWithoutUnused reads the profiles without the settings that this package does not use. The SDK reads files and nothing
// else: it is given copies, in memory, since there may be keys in them.
func loadWithoutUnused(ctx context.Context, options []func(*config.LoadOptions) error) (aws.Config, error) {
	var copies [2][]string
	for i, name := range []string{configFile(), credentialsFile()} {
		text, err := os.ReadFile(name)
		if err != nil { // which the SDK says in its own way
			copies[i] = []string{name}
			continue
		}
		file, err := inMemory(settings.ReplaceAll(text, []byte("unused_$1")))
		if err != nil {
			return aws.Config{}, fmt.Errorf("leave out of %s what is not used: %w", name, err)
		}
		defer file.Close()
		copies[i] = []string{fmt.Sprintf("/proc/self/fd/%d", file.Fd())}
	}
	return config.LoadDefaultConfig(ctx, append(options, config.WithSharedConfigFiles(copies[0]), config.WithSharedCredentialsFiles(copies[1]))...)
}

// settings are the lines of a file of profiles that begin with the name of an unused setting. With another name they mean
// nothing, and lines that go on with them go on meaning nothing.
var settings = func() *regexp.Regexp {
	var names []string
	for name := range unused {
		names = append(names, inProfile(name))
	}
	return regexp.MustCompile(`(?im)^(` + strings.Join(names, "|") + `)\b`)
}()

// inMemory is a file that no other process can open.
func inMemory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("aws", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "aws")
	if _, err := file.Write(text); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func configFile() string {
	return cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename())
}

func credentialsFile() string {
	return cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename())
}
