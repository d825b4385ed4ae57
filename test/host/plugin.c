//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>

/* The layouts below are Fluent Bit's: include/fluent-bit/flb_api.h and src/proxy/go/go.h of 5.1.1. Fields are only
 * ever added at the end. */

enum { OUTPUT_PLUGIN = 2, PROXY_GOLANG = 11 };

struct api {
    const char *(*output_get_property)(const char *, struct instance *);
    const char *(*input_get_property)(const char *, void *);
    void *(*output_get_cmt_instance)(struct instance *);
    void *(*input_get_cmt_instance)(void *);
    void (*log_print)(int, const char *, int, const char *, ...);
    int (*input_log_check)(void *, int);
    int (*output_log_check)(struct instance *, int);
    const char *(*custom_get_property)(const char *, void *);
    int (*custom_log_check)(void *, int);
};

struct go_plugin {
    char *name;
    void *api;
    void *o_ins;
    struct proxy_context *context;
    int (*cb_init)(struct go_plugin *);
    int (*cb_flush)(const void *, size_t, const char *);
    int (*cb_flush_ctx)(void *, const void *, size_t, char *);
    int (*cb_exit)(void);
    int (*cb_exit_ctx)(void *);
};

struct plugin {
    void *library;
    struct definition definition;
    struct api api;
    struct go_plugin go;
    struct instance *instances;
    size_t count;
};

static void log_line(const char *level, const char *format, va_list args)
{
    struct timeval t;
    struct tm local;
    char *text, stamp[32];

    gettimeofday(&t, NULL);
    strftime(stamp, sizeof stamp, "%Y/%m/%d %H:%M:%S", localtime_r(&t.tv_sec, &local));
    if (vasprintf(&text, format, args) < 0)
        abort();
    fprintf(stderr, "[%s.%03ld] [%s] %s\n", stamp, (long)t.tv_usec / 1000, level, text);
    free(text);
}

void host_log(const char *level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_line(level, format, args);
    va_end(args);
}

/* Keys that Fluent Bit keeps for itself: a Go plugin reads them as empty. */
static bool kept_by_host(const char *key)
{
    static const char *const names[] = {
        "match", "match_regex", "alias", "log_level", "log_suppress_interval", "host", "port", "ipv6",
        "retry_limit", "tls", "storage.total_limit_size", "workers",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(key, names[i]) == 0)
            return true;
    return strncasecmp(key, "net.", 4) == 0 || strncasecmp(key, "tls.", 4) == 0 || strncasecmp(key, "oauth2", 6) == 0;
}

static const char *output_get_property(const char *key, struct instance *ins)
{
    return kept_by_host(key) ? NULL : section_get(ins->section, key);
}

static const char *no_property(const char *key, void *ins)
{
    (void)key, (void)ins;
    return NULL;
}

static void *no_output_metrics(struct instance *ins)
{
    (void)ins;
    return NULL;
}

static void *no_input_metrics(void *ins)
{
    (void)ins;
    return NULL;
}

static void log_print(int type, const char *file, int line, const char *format, ...)
{
    static const char *const levels[] = {"  off", "error", " warn", " info", "debug", "trace"};
    va_list args;
    (void)file, (void)line;
    va_start(args, format);
    log_line(type >= 0 && type < 6 ? levels[type] : "    ?", format, args);
    va_end(args);
}

static int log_check(void *ins, int level)
{
    (void)ins;
    return level <= 3; /* info, Fluent Bit's default */
}

static int output_log_check(struct instance *ins, int level)
{
    return log_check(ins, level);
}

/* ISO C has no cast from an object pointer to a function pointer; POSIX wants this copy. */
static void symbol(struct plugin *plugin, const char *name, void *function)
{
    void *found = dlsym(plugin->library, name);
    memcpy(function, &found, sizeof found);
}

static bool register_plugin(struct plugin *plugin, const char *path, bool hot_reload)
{
    int (*cb_pre_register)(int), (*cb_register)(struct proxy_def *);

    symbol(plugin, "FLBPluginPreRegister", &cb_pre_register);
    if (cb_pre_register && cb_pre_register(hot_reload) == -1) {
        host_log("error", "[host] %s: FLBPluginPreRegister answered -1", path);
        return false;
    }
    symbol(plugin, "FLBPluginRegister", &cb_register);
    if (!cb_register) {
        host_log("error", "[host] %s exports no FLBPluginRegister: want a plugin built with -buildmode=c-shared", path);
        return false;
    }
    int answer = cb_register(plugin->definition.def);
    definition_check(&plugin->definition, "FLBPluginRegister");
    if (answer == -1) {
        host_log("error", "[host] %s: FLBPluginRegister answered -1", path);
        return false;
    }
    if (plugin->definition.def->type != OUTPUT_PLUGIN || plugin->definition.def->proxy != PROXY_GOLANG || !plugin->definition.def->name) {
        host_log("error", "[host] %s: want an output plugin of the Go proxy, got type %d, proxy %d", path, plugin->definition.def->type, plugin->definition.def->proxy);
        return false;
    }
    symbol(plugin, "FLBPluginInit", &plugin->go.cb_init);
    symbol(plugin, "FLBPluginFlush", &plugin->go.cb_flush);
    symbol(plugin, "FLBPluginFlushCtx", &plugin->go.cb_flush_ctx);
    symbol(plugin, "FLBPluginExit", &plugin->go.cb_exit);
    symbol(plugin, "FLBPluginExitCtx", &plugin->go.cb_exit_ctx);
    if (!plugin->go.cb_init || (!plugin->go.cb_flush && !plugin->go.cb_flush_ctx)) {
        host_log("error", "[host] %s: want the symbols FLBPluginInit and FLBPluginFlushCtx", path);
        return false;
    }
    plugin->go.name = must(strdup(plugin->definition.def->name));
    return true;
}

struct plugin *plugin_open(const char *path, const char *abi, bool hot_reload)
{
    struct plugin *plugin = must(calloc(1, sizeof *plugin));

    definition_make(&plugin->definition, abi);
    plugin->api = (struct api){
        .output_get_property = output_get_property,
        .input_get_property = no_property,
        .output_get_cmt_instance = no_output_metrics,
        .input_get_cmt_instance = no_input_metrics,
        .log_print = log_print,
        .input_log_check = log_check,
        .output_log_check = output_log_check,
        .custom_get_property = no_property,
        .custom_log_check = log_check,
    };
    plugin->go.api = &plugin->api;

    plugin->library = dlopen(path, RTLD_LAZY);
    if (!plugin->library) {
        host_log("error", "[host] load plugin: %s", dlerror());
    } else if (register_plugin(plugin, path, hot_reload)) {
        return plugin;
    } else {
        dlclose(plugin->library);
    }
    definition_free(&plugin->definition);
    free(plugin);
    return NULL;
}

bool plugin_init(struct plugin *plugin, const struct section *sections, bool may_reload)
{
    int (*cb_pre_run)(int);

    for (const struct section *s = sections; s; s = s->next) {
        const char *name = section_get(s, "name"), *match = section_get(s, "match");
        if (!name || strcasecmp(name, plugin->go.name) != 0)
            continue;
        plugin->instances = must(realloc(plugin->instances, (plugin->count + 1) * sizeof *plugin->instances));
        struct proxy_context *context = must(calloc(1, sizeof *context));
        context->proxy = plugin;
        plugin->instances[plugin->count++] = (struct instance){.section = s, .context = context, .match = match ? match : ""};
    }
    if (plugin->count == 0) {
        host_log("error", "[host] want an [OUTPUT] section with Name %s, got none", plugin->go.name);
        return false;
    }
    /* One go_plugin serves all instances: Fluent Bit only changes its two pointers. */
    for (size_t i = 0; i < plugin->count; i++) {
        plugin->go.o_ins = &plugin->instances[i];
        plugin->go.context = plugin->instances[i].context;
        int answer = plugin->go.cb_init(&plugin->go);
        definition_check(&plugin->definition, "FLBPluginInit");
        if (answer <= 0) {
            host_log("error", "[go proxy]: plugin '%s' failed to initialize (instance %zu answered %d)", plugin->go.name, i, answer);
            /* As measured with 5.1.1: the failed one is never exited, those after it are,
             * with the NULL that their context still holds. */
            free(plugin->instances[i].context);
            memmove(&plugin->instances[i], &plugin->instances[i + 1], (--plugin->count - i) * sizeof *plugin->instances);
            return false;
        }
    }
    symbol(plugin, "FLBPluginOutputPreRun", &cb_pre_run);
    for (size_t i = 0; cb_pre_run && i < plugin->count; i++)
        cb_pre_run(may_reload);
    return true;
}

void plugin_print_options(const struct plugin *plugin)
{
    definition_print_options(&plugin->definition);
}

size_t plugin_instances(const struct plugin *plugin)
{
    return plugin->count;
}

const char *plugin_match(const struct plugin *plugin, size_t instance)
{
    return plugin->instances[instance].match;
}

int plugin_flush(struct plugin *plugin, size_t instance, const char *tag, const void *data, size_t len)
{
    char *own = must(strdup(tag));
    int answer;
    if (plugin->go.cb_flush_ctx)
        answer = plugin->go.cb_flush_ctx(plugin->instances[instance].context->remote_context, data, len, own);
    else
        answer = plugin->go.cb_flush(data, len, own);
    free(own);
    return answer;
}

bool plugin_close(struct plugin *plugin, bool by_reload)
{
    void (*cb_pre_exit)(int), (*cb_unregister)(struct proxy_def *);

    symbol(plugin, "FLBPluginOutputPreExit", &cb_pre_exit);
    for (size_t i = 0; i < plugin->count; i++) {
        if (cb_pre_exit)
            cb_pre_exit(by_reload);
        if (plugin->go.cb_exit_ctx)
            plugin->go.cb_exit_ctx(plugin->instances[i].context->remote_context);
        else if (plugin->go.cb_exit)
            plugin->go.cb_exit();
        free(plugin->instances[i].context);
    }
    definition_check(&plugin->definition, "FLBPluginExitCtx");
    symbol(plugin, "FLBPluginUnregister", &cb_unregister);
    if (cb_unregister)
        cb_unregister(plugin->definition.def);
    definition_check(&plugin->definition, "FLBPluginUnregister");

    bool good = !plugin->definition.overwritten;
    dlclose(plugin->library);
    free(plugin->instances);
    free(plugin->go.name);
    definition_free(&plugin->definition);
    free(plugin);
    return good;
}
