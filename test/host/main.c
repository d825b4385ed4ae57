//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static bool load(struct host *host)
{
    if (host->options.conf) {
        if (!conf_load(host->options.conf, &host->sections))
            return false;
    } else {
        host->sections = must(calloc(1, sizeof *host->sections));
        section_set(host->sections, "name", "amberflo");
        section_set(host->sections, "match", "*");
    }
    for (struct section *s = host->sections; s; s = s->next)
        for (struct property *p = host->options.overrides.properties; p; p = p->next)
            section_set(s, p->key, p->value);
    host->run.plugin = plugin_open(host->options.plugin, host->options.abi, false);
    return host->run.plugin != NULL;
}

/* Fluent Bit's order, measured with 5.1.1: the new registration comes before the old exits. */
bool reload(struct host *host)
{
    double begin = now();
    run_pause(&host->run);
    struct plugin *next = plugin_open(host->options.plugin, host->options.abi, true);
    host->broken |= !plugin_close(host->run.plugin, true);
    host->run.plugin = next;
    if (!next || !plugin_init(next, host->sections, true)) {
        run_interrupt(&host->run);
        return false;
    }
    run_resume(&host->run);
    host->reloads++;
    if (now() - begin > host->slowest_reload)
        host->slowest_reload = now() - begin;
    return true;
}

static void *signal_thread(void *arg)
{
    struct host *host = arg;
    double left = host->options.seconds;
    struct timespec t = {.tv_sec = (time_t)left};
    t.tv_nsec = (long)((left - (double)t.tv_sec) * 1e9);
    while (sigtimedwait(&host->signals, NULL, left > 0 ? &t : NULL) < 0 && errno == EINTR)
        ;
    run_interrupt(&host->run);
    if (write(host->interrupted[1], "", 1) != 1)
        abort();
    return NULL;
}

/* Peak resident bytes of this program. Not ru_maxrss, which begins with what the parent had. */
static double peak_rss_mib(void)
{
    char line[256];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

static double thread_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_summary(struct host *host)
{
    struct run *run = &host->run;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const struct {
        const char *name;
        double value;
        int decimals;
    } figures[] = {
        {"chunks", (double)run->chunks, 0},
        {"ok", (double)run->ok, 0},
        {"retried", (double)run->retried, 0},
        {"dropped", (double)run->dropped, 0},
        {"left", (double)run->left, 0},
        {"skipped", (double)run->skipped, 0},
        {"unrouted", (double)run->unrouted, 0},
        {"bad_answers", (double)run->bad_answers, 0},
        {"bytes", (double)run->bytes, 0},
        {"flush_p50_ms", run_latency(run, 0.5), 3},
        {"flush_p99_ms", run_latency(run, 0.99), 3},
        {"flush_max_ms", run_latency(run, 1), 3},
        {"first_flush_s", run->first_flush ? run->first_flush - host->start : 0, 4},
        {"reloads", (double)host->reloads, 0},
        {"reload_max_ms", host->slowest_reload * 1e3, 3},
        {"cpu_s", (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 + (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6, 3},
        {"read_cpu_s", host->read_cpu, 6},
        {"peak_rss_mib", peak_rss_mib(), 1},
        {"wall_s", now() - host->start, 3},
    };
    size_t n = sizeof figures / sizeof *figures;
    if (host->options.json)
        putchar('{');
    for (size_t i = 0; i < n; i++)
        printf(host->options.json ? "\"%s\":%.*f%s" : "%s=%.*f%s", figures[i].name, figures[i].decimals, figures[i].value,
               i + 1 == n ? "" : host->options.json ? "," : " ");
    puts(host->options.json ? "}" : "");
    fflush(stdout);
}

static int work(struct host *host)
{
    struct run *run = &host->run;
    pthread_t signals;
    alarm((unsigned)host->options.daemon);
    if (!plugin_init(run->plugin, host->sections, host->options.reload_every > 0)) {
        plugin_close(run->plugin, false);
        return 1;
    }
    alarm(0);
    run_start(run);
    errno = pthread_create(&signals, NULL, signal_thread, host);
    if (errno) {
        perror("start the signal thread");
        return 1;
    }
    double before = thread_cpu();
    bool good = feed(host);
    host->read_cpu = thread_cpu() - before;
    run_drain(run);
    if (good)
        run_idle(run, host->options.wait);
    run_finish(run);
    if (run->plugin)
        host->broken |= !plugin_close(run->plugin, false);
    print_summary(host);
    return host->broken || run->bad_answers ? 2 : good ? 0 : 1;
}

/* Unlike fluent-bit -d the parent stays, so that a caller learns how the child ended. */
static int work_as_daemon(struct host *host)
{
    int status;
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return work(host);
    }
    sigprocmask(SIG_UNBLOCK, &host->signals, NULL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (WTERMSIG(status) == SIGALRM) {
        host_log("error", "[host] the plugin did not return from FLBPluginInit within %g s of the fork", host->options.daemon);
        return 3;
    }
    host_log("error", "[host] the forked child was ended by signal %d", WTERMSIG(status));
    return 2;
}

int main(int argc, char **argv)
{
    static struct host host = {
        .start = 0,
        .options = {.tag = "app.log", .abi = "5.1.1", .repeat = 1},
        .run = {.threads = 1, .retry_delay = 0.2, .retry_limit = -1, .ack_fd = -1},
    };
    host.start = now();
    if (!parse_command_line(argc, argv, &host.options, &host.run))
        return 1;
    if (host.options.skip && !read_acked(host.options.skip, &host.acked))
        return 1;
    if (host.options.ack) {
        host.run.ack_fd = open(host.options.ack, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        if (host.run.ack_fd < 0) {
            fprintf(stderr, "open ack file %s: %s\n", host.options.ack, strerror(errno));
            return 1;
        }
    }
    if (pipe2(host.interrupted, O_CLOEXEC) != 0) {
        perror("make a pipe");
        return 1;
    }
    /* Before the plugin is loaded, so that its threads leave these signals to signal_thread. */
    sigemptyset(&host.signals);
    sigaddset(&host.signals, SIGTERM);
    sigaddset(&host.signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &host.signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (!load(&host))
        return 1;
    if (host.options.list) {
        plugin_print_options(host.run.plugin);
        return plugin_close(host.run.plugin, false) ? 0 : 2;
    }
    return host.options.daemon > 0 ? work_as_daemon(&host) : work(&host);
}
