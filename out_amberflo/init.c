/*
 * Fluent Bit's daemon mode forks after it has loaded this library. Go's threads do not survive a fork,
 * so that the first call into Go would never return. That is seen and said here, before Go is entered.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

extern int goInit(void *plugin);

static pid_t loaded_by;

__attribute__((constructor)) static void remember_process(void)
{
    loaded_by = getpid();
}

int FLBPluginInit(void *plugin)
{
    if (getpid() != loaded_by) {
        char when[32];
        time_t now = time(NULL);
        struct tm local;

        strftime(when, sizeof when, "%Y/%m/%d %H:%M:%S", localtime_r(&now, &local));
        fprintf(stderr, "[%s] [error] [output:amberflo] not started: want Fluent Bit in the foreground, got its "
                "daemon mode (-d, Daemon On), in which no output written in Go can run. Let systemd, Docker or "
                "Kubernetes keep it in the background, and set Daemon Off.\n", when);
        return 0;
    }
    return goInit(plugin);
}
