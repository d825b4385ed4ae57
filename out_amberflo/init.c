/*
 * The functions that Fluent Bit calls, in C: each asks first whether Go can be entered at all.
 *
 * Fluent Bit's daemon mode forks after it has loaded this library. Go's threads do not survive a fork, so
 * that no call into Go would ever return. In the new process only the error is said, here.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "host.h"

enum { FLB_ERROR = 0, FLB_OK = 1, FLB_RETRY = 2, LEVEL_ERROR = 1 };

static pid_t loaded_by;
static int stderr_of_daemon = -1;

/* Fluent Bit closes stderr in the daemon before it starts the outputs: the error would show nowhere. */
static void keep_stderr(void)
{
    stderr_of_daemon = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

__attribute__((constructor)) static void remember_process(void)
{
    loaded_by = getpid();
    pthread_atfork(NULL, NULL, keep_stderr);
}

static int forked(void)
{
    return getpid() != loaded_by;
}

/* Says why the output does not start, without Go: in Fluent Bit's log and, in the daemon, on what was its stderr. */
static int not_started(const char *why)
{
    char line[512], when[32];
    struct timespec now;
    struct tm local;
    int logged;

    snprintf(line, sizeof line, "[output:amberflo] not started: %s", why);
    logged = amberflo_log(LEVEL_ERROR, line);
    if (!logged || forked()) {
        clock_gettime(CLOCK_REALTIME, &now);
        strftime(when, sizeof when, "%Y/%m/%d %H:%M:%S", localtime_r(&now.tv_sec, &local));
        dprintf(forked() ? stderr_of_daemon : STDERR_FILENO, "[%s.%03ld] [error] %s\n", when, now.tv_nsec / 1000000, line);
    }
    return FLB_ERROR;
}

int FLBPluginRegister(void *def)
{
    if (forked()) {
        return -1;
    }
    amberflo_forget_workers();
    return goRegister(def);
}

int FLBPluginInit(void *plugin)
{
    if (forked()) {
        return not_started("want Fluent Bit in the foreground, got its daemon mode (-d, Daemon On), in which no output "
                           "written in Go can run. Let systemd, Docker or Kubernetes keep it in the background, and set "
                           "Daemon Off.");
    }
    if (!amberflo_host_suffices(plugin)) {
        return not_started("want a program with Fluent Bit's interface for outputs written in Go (2.1 or later), got "
                           "one without output_get_property or a context. Load it with -e in Fluent Bit.");
    }
    amberflo_hold_workers(amberflo_instance(plugin));
    return goInit(plugin);
}

int FLBPluginOutputPreRun(int hot_reload)
{
    (void) hot_reload;
    if (!forked()) {
        amberflo_start_workers();
    }
    return FLB_OK;
}

int FLBPluginFlushCtx(void *context, void *data, int length, char *tag)
{
    return forked() ? FLB_RETRY : goFlush(context, data, length, tag);
}

void FLBPluginOutputPreExit(int by_reload)
{
    (void) by_reload;
    if (!forked() && amberflo_host_starts_workers()) {
        amberflo_quiet_workers();
    }
}

int FLBPluginExitCtx(void *context)
{
    return forked() ? FLB_OK : goExit(context);
}

void FLBPluginUnregister(void *def)
{
    if (!forked()) {
        goUnregister(def);
    }
}
