package creds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"

	"out_amberflo/plugin/bucket/wire"
)

// helper runs a credential_process. The SDK's own would wait for ever for what such a command has started itself, and leave it
// running.
type helper struct {
	command string
	chain   *Chain
}

// Retrieve implements [aws.CredentialsProvider].
func (h *helper) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, h.chain.limits.Helper)
	defer cancel()
	done, err := h.chain.begun(cancel)
	if err != nil {
		return aws.Credentials{}, helperError{err: err}
	}
	defer done()
	var said bytes.Buffer
	mine := fmt.Sprintf("%s.%d.", h.chain.id, h.chain.begins.Add(1))
	run := processcreds.NewCommandBuilderFunc(func(ctx context.Context) (*exec.Cmd, error) {
		cmd := exec.CommandContext(ctx, "sh", "-c", h.command)
		cmd.Env, cmd.Stderr = append(os.Environ(), mark+"="+mine), &limited{to: &said}
		// A group of its own, so that what it starts ends with it.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { endAll(cmd.Process.Pid, mine); return nil }
		cmd.WaitDelay = time.Second // for the output, which a process that is not found may hold open
		return cmd, nil
	})
	found, err := processcreds.NewProviderCommand(run, func(o *processcreds.Options) { o.Timeout = -1 }).Retrieve(ctx)
	if err == nil {
		return found, nil
	}
	endAll(0, mine) // what it has left running
	e := helperError{err: err, said: wire.FirstWords(said.String())}
	if ctx.Err() != nil {
		e.err = fmt.Errorf("it was ended after %s, with the processes that it has started", h.chain.limits.Helper)
	}
	return aws.Credentials{}, e
}

// begun notes a helper that stop ends. It has to call done when it has ended.
func (c *Chain) begun(stop func()) (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.open.Err(); err != nil {
		return nil, err
	}
	c.helpers.Add(1)
	c.running.Add(1)
	forget := context.AfterFunc(c.open, stop)
	return func() { forget(); c.running.Add(-1); c.helpers.Done() }, nil
}

// Close ends the helpers, with all that they have left running, and waits for that: they are not to outlive the plugin. Nobody is
// asked for credentials after it.
func (c *Chain) Close() {
	c.mu.Lock()
	c.shut()
	c.mu.Unlock()
	c.helpers.Wait()
	if c.begins.Load() > 0 {
		endAll(0, c.id+".") // what a helper that answered has left running
	}
}

// helperError is what came of a credential_process.
type helperError struct {
	err  error
	said string // on standard error
}

// Error keeps to itself what the helper printed: that may be the secret.
func (e helperError) Error() string {
	text := "credential_process: " + e.err.Error()
	if process := (*processcreds.ProviderError)(nil); errors.As(e.err, &process) {
		text = "credential_process: " + process.Err.Error()
		if strings.HasPrefix(process.Err.Error(), "parse failed") {
			text = "the output of credential_process is not what the AWS SDK reads"
			if cause := errors.Unwrap(process.Err); cause != nil {
				text += ": " + cause.Error()
			}
		}
	}
	if e.said != "" {
		text += "; it said: " + e.said
	}
	return text
}

// limited keeps the beginning of what is written.
type limited struct{ to *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), max(0, 1<<10-l.to.Len()))])
	return len(p), nil
}
