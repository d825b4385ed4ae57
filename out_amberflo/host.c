#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stddef.h>

#include "host.h"

/*
 * The symbols of Fluent Bit (flb_output.h, flb_log.h) and of its cmetrics library (cmt_counter.h,
 * cmt_gauge.h, cfl_time.h). The program exports them even when it is stripped. Their signatures have
 * been the same from Fluent Bit 2.1 to 5.1.
 *
 * No race with the host: metrics and their series are made in FLBPluginInit, in the engine's thread,
 * before it scrapes. Afterwards values are only set, which cmetrics does with atomic stores, and a
 * look-up of a series that exists reads lists that nobody changes any more.
 */
void *amberflo_symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* The heads of struct flbgo_output_plugin (proxy/go/go.h) and of struct flb_api (flb_api.h). */
struct output_plugin {
    char *name;
    struct api *api;
    void *instance;
    void *context;
};
struct api {
    void *output_get_property;
};

int amberflo_host_suffices(void *plugin)
{
    struct output_plugin *p = plugin;

    return p != NULL && p->api != NULL && p->api->output_get_property != NULL && p->instance != NULL && p->context != NULL;
}

void *amberflo_instance(void *plugin)
{
    return ((struct output_plugin *) plugin)->instance;
}

const char *amberflo_name(void *instance)
{
    const char *(*name)(void *) = amberflo_symbol("flb_output_name");

    return name != NULL && instance != NULL ? name(instance) : NULL;
}

int amberflo_log_enabled(void *instance, int level)
{
    int (*check)(void *, int) = amberflo_symbol("flb_output_log_check");

    return check != NULL && instance != NULL ? check(instance, level) : -1;
}

int amberflo_log(int level, const char *line)
{
    void (*print)(int, const char *, int, const char *, ...) = amberflo_symbol("flb_log_print");

    if (print == NULL) {
        return 0;
    }
    print(level, NULL, 0, "%s", line);
    return 1;
}

int amberflo_retry_without_limit(void *instance)
{
    int (*set)(void *, const char *, const char *) = amberflo_symbol("flb_output_set_property");

    return set != NULL && instance != NULL && set(instance, "retry_limit", "no_limits") == 0;
}

void *amberflo_metric(void *instance, int counter, const char *name, const char *help, const char *label)
{
    void *(*metrics)(void *) = amberflo_symbol("flb_output_get_cmt_instance");
    void *(*create)(void *, char *, char *, char *, char *, int, char **) =
        amberflo_symbol(counter ? "cmt_counter_create" : "cmt_gauge_create");
    char *labels[] = {"name", (char *) label};
    void *all;

    if (metrics == NULL || create == NULL || amberflo_symbol("cfl_time_now") == NULL || instance == NULL ||
        amberflo_symbol(counter ? "cmt_counter_set" : "cmt_gauge_set") == NULL || (all = metrics(instance)) == NULL) {
        return NULL;
    }
    return create(all, "fluentbit", "amberflo", (char *) name, (char *) help, label != NULL ? 2 : 1, labels);
}

void amberflo_set(void *metric, int counter, double value, const char *name, const char *label)
{
    static int (*set_counter)(void *, uint64_t, double, int, char **);
    static int (*set_gauge)(void *, uint64_t, double, int, char **);
    static uint64_t (*now)(void);
    char *labels[] = {(char *) name, (char *) label};

    if (now == NULL) {
        set_counter = amberflo_symbol("cmt_counter_set");
        set_gauge = amberflo_symbol("cmt_gauge_set");
        now = amberflo_symbol("cfl_time_now");
    }
    (counter ? set_counter : set_gauge)(metric, now(), value, label != NULL ? 2 : 1, labels);
}
