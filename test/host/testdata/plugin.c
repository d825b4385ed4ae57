//go:build ignore

/* A plugin that writes down what its host does. TOY_LOG names the file; the properties
 * fail, answer, retries and sleep say how it behaves. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct def {
    int type, proxy, flags;
    char *name, *description;
    int event_type;
    void *config_map;
};
struct context {
    void *remote, *proxy;
};
struct api {
    const char *(*output_get_property)(const char *, void *);
};
struct plugin {
    char *name;
    struct api *api;
    void *ins;
    struct context *context;
};
struct toy {
    char name[64];
    int answer, retries, sleep_ms;
    atomic_int running, most, calls;
};

static void note(const char *format, ...)
{
    char line[512];
    va_list args;
    int fd = open(getenv("TOY_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        abort();
    close(fd);
}

static const char *get(struct plugin *p, const char *key, const char *absent)
{
    const char *v = p->api->output_get_property(key, p->ins);
    return v ? v : absent;
}

int FLBPluginRegister(struct def *def)
{
    def->type = 2;
    def->proxy = 11;
    def->name = strdup("amberflo");
    def->description = strdup("writes down what its host does");
    if (getenv("TOY_WIDE"))
        def->event_type = 1;
    if (getenv("TOY_TABLE"))
        def->config_map = def;
    note("register\n");
    return 0;
}

int FLBPluginInit(struct plugin *p)
{
    struct toy *t = calloc(1, sizeof *t);
    const char *shown = get(p, "show", "");
    snprintf(t->name, sizeof t->name, "%s", get(p, "id", "toy"));
    t->answer = atoi(get(p, "answer", "1"));
    t->retries = atoi(get(p, "retries", "0"));
    t->sleep_ms = atoi(get(p, "sleep", "0"));
    note("init %s show=%s match=%s\n", t->name, shown, get(p, "match", ""));
    while (strcmp(get(p, "fail", ""), "hang") == 0)
        pause();
    if (*get(p, "fail", ""))
        return 0;
    p->context->remote = t;
    return 1;
}

int FLBPluginOutputPreRun(int hot_reload)
{
    note("prerun %d\n", hot_reload);
    return 0;
}

int FLBPluginFlushCtx(struct toy *t, const unsigned char *data, size_t len, const char *tag)
{
    int running = ++t->running, most = t->most;
    unsigned sum = 5381;
    while (running > most && !atomic_compare_exchange_weak(&t->most, &most, running))
        ;
    struct timespec pause = {t->sleep_ms / 1000, t->sleep_ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
    for (size_t i = 0; i < len; i++)
        sum = sum * 33 + data[i];
    int answer = t->calls++ < t->retries ? 2 : t->answer;
    note("flush %s %s %zu %08x %d\n", t->name, tag, len, sum, answer);
    --t->running;
    return answer;
}

int FLBPluginFlush(const void *data, size_t len, const char *tag)
{
    (void)data, (void)len, (void)tag;
    note("flush without a context\n");
    return 0;
}

void FLBPluginOutputPreExit(int by_reload)
{
    note("preexit %d\n", by_reload);
}

int FLBPluginExitCtx(struct toy *t)
{
    if (!t) {
        note("exit without a context\n");
        return 1;
    }
    note("exit %s running=%d most=%d\n", t->name, t->running, t->most);
    free(t);
    return 1;
}

int FLBPluginExit(void)
{
    note("exit without a context\n");
    return 1;
}

void FLBPluginUnregister(struct def *def)
{
    free(def->name);
    free(def->description);
    note("unregister\n");
}
