/*
 * For hosts with which pool.c does not work: Fluent Bit starts the worker threads of an output written in Go
 * twice and, at a stop or a hot reload, ends those that it started last. The others stay in their event loop
 * for ever. A timer wakes them every 1.5 s to look for connections of the output instance, which
 * is freed by then, and Fluent Bit aborts within seconds.
 *
 * So their timers are disarmed: an output written in Go has no connections that Fluent Bit knows. A thread is
 * known by its name, its event loop by the epoll descriptor on which it sleeps. Where /proc tells less,
 * nothing is done.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host.h"

/* flb-out-amberflo.0-w0, as far as Linux keeps it. */
static const char worker_name[] = "flb-out-amberfl";

static int read_text(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;

    if (f != NULL) {
        n = fread(text, 1, size - 1, f);
        fclose(f);
    }
    text[n] = '\0';
    return n > 0;
}

/* The descriptor on which a thread waits for events, or -1. It may be busy for a moment. */
static int event_loop_of(const char *thread)
{
    char path[300], text[256];
    long number;
    int fd;

    snprintf(path, sizeof path, "/proc/self/task/%s/syscall", thread);
    for (int tries = 0; tries < 100 && read_text(path, text, sizeof text); tries++) {
        if (sscanf(text, "%ld %x", &number, (unsigned *) &fd) == 2) {
#ifdef SYS_epoll_wait
            if (number == SYS_epoll_wait) {
                return fd;
            }
#endif
            if (number == SYS_epoll_pwait) {
                return fd;
            }
        }
        usleep(1000);
    }
    return -1;
}

static void disarm_timers_of(int event_loop)
{
    static const struct itimerspec never;
    char path[64], text[4096], kind[64];

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", event_loop);
    read_text(path, text, sizeof text);
    for (char *at = strstr(text, "tfd:"); at != NULL; at = strstr(at + 1, "tfd:")) {
        int fd;

        if (sscanf(at, "tfd: %d", &fd) != 1) {
            continue;
        }
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, kind, sizeof kind - 1);
        kind[n > 0 ? n : 0] = '\0';
        if (strcmp(kind, "anon_inode:[timerfd]") == 0) {
            timerfd_settime(fd, 0, &never, NULL);
        }
    }
}

void amberflo_quiet_workers(void)
{
    DIR *threads = opendir("/proc/self/task");
    char path[300], name[64];

    for (struct dirent *d; threads != NULL && (d = readdir(threads)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", d->d_name);
        if (d->d_name[0] != '.' && read_text(path, name, sizeof name) &&
            strncmp(name, worker_name, sizeof worker_name - 1) == 0) {
            int event_loop = event_loop_of(d->d_name);

            if (event_loop >= 0) {
                disarm_timers_of(event_loop);
            }
        }
    }
    if (threads != NULL) {
        closedir(threads);
    }
}
