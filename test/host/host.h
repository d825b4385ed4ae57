/* The parts of amberflo-host: conf.c reads a configuration, plugin.c speaks the
 * interface of Fluent Bit's Go proxy, with definition.c for its registration, run.c delivers chunks, options.c and feed.c
 * read the command line and the chunks, main.c ties them together. */
#ifndef AMBERFLO_HOST_H
#define AMBERFLO_HOST_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- conf.c ---- */

struct property {
    char *key;
    char *value;
    struct property *next;
};

/* One [OUTPUT] section. Of equal keys the first counts, as in Fluent Bit. */
struct section {
    struct property *properties;
    struct section *next;
};

/* Appends the [OUTPUT] sections of a classic configuration, ${VARIABLES} expanded.
 * False after an error, which it has printed. */
bool conf_load(const char *path, struct section **sections);
/* Sets key to value, in the place of what it had. An empty value unsets. */
void section_set(struct section *section, const char *key, const char *value);
/* The value of key in any case of its letters, or NULL. */
const char *section_get(const struct section *section, const char *key);
/* Whether a Match pattern takes a tag: * stands for any characters, also for none. */
bool tag_matches(const char *tag, const char *match);

/* ---- definition.c ---- */

/* struct flb_plugin_proxy_def of 5.1.1 (include/fluent-bit/flb_plugin_proxy.h). */
struct proxy_def {
    int type;
    int proxy;
    int flags;
    char *name;
    char *description;
    int event_type;   /* since 4.2.3 */
    void *config_map; /* since 5.1.1 */
};

struct definition {
    struct proxy_def *def;
    size_t size; /* of it in the version that the host is */
    unsigned char *wall, *behind;
    size_t behind_size;
    bool overwritten;
};

/* Whether abi is a version that the host can be: 2.1, 4.2.3 or 5.1.1. */
bool definition_known(const char *abi);
void definition_make(struct definition *d, const char *abi);
/* Notes, and says once, that something was written behind the definition. */
void definition_check(struct definition *d, const char *after);
void definition_free(struct definition *d);
/* One line for each option that the plugin offered. */
void definition_print_options(const struct definition *d);
/* Makes the entries of a table of options size bytes long, 96 or 104; with 0 the host can make none. False for another. */
bool entries_are(size_t size);

/* ---- plugin.c ---- */

enum { FLB_ERROR = 0, FLB_OK = 1, FLB_RETRY = 2 };

struct proxy_context {
    void *remote_context; /* set by the plugin in its Init */
    void *proxy;
};

struct instance {
    const struct section *section;
    struct proxy_context *context;
    const char *match;
};

struct plugin;

/* Loads and registers, with the definition of abi. NULL after an error, which it has printed. */
struct plugin *plugin_open(const char *path, const char *abi, bool hot_reload);
/* Initialises one instance per section that names this plugin. */
bool plugin_init(struct plugin *plugin, const struct section *sections, bool may_reload);
void plugin_print_options(const struct plugin *plugin);
size_t plugin_instances(const struct plugin *plugin);
const char *plugin_match(const struct plugin *plugin, size_t instance);
/* Safe from several threads. The answer is the plugin's, whatever it is. */
int plugin_flush(struct plugin *plugin, size_t instance, const char *tag, const void *data, size_t len);
/* Exits every instance, unregisters and unloads. False if the plugin wrote where it must not. */
bool plugin_close(struct plugin *plugin, bool by_reload);
/* A line in Fluent Bit's form on stderr. */
void host_log(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- run.c ---- */

/* The bytes of one chunk, shared by its deliveries. */
struct chunk {
    atomic_uint references;
    char *tag;
    unsigned char *data;
    size_t len;
};

struct task;

struct task_list {
    struct task *head, **tail;
    size_t count;
};

struct run {
    /* Set before run_start, then only read. */
    unsigned threads;
    double retry_delay; /* seconds */
    long retry_limit;   /* -1: no limit */
    int ack_fd;         /* -1: none */
    bool scribble;

    pthread_mutex_t mutex; /* guards all that follows */
    pthread_cond_t work;   /* for the flush threads */
    pthread_cond_t change; /* for the feeder: room, idle, stopping */
    struct plugin *plugin; /* changed only while paused and nothing runs */
    struct task_list ready, delayed;
    size_t running, bytes_waiting;
    bool paused, stopping, quit;
    pthread_t *workers;

    size_t chunks, ok, retried, dropped, left, unrouted, skipped, bad_answers;
    uint64_t bytes;
    double first_flush; /* monotonic seconds; 0: none yet */
    float *latencies;   /* milliseconds, one per flush */
    size_t flushes, latency_room;
};

double now(void); /* monotonic, in seconds */
void run_start(struct run *run);
/* Hands the chunk number seq to every instance that matches; waits while too much waits. */
void run_offer(struct run *run, struct chunk *chunk, uint64_t seq);
/* Waits until nothing is under way: all answered, or stopped and the flushes returned. */
void run_drain(struct run *run);
/* No flush is running from here to run_resume. */
void run_pause(struct run *run);
void run_resume(struct run *run);
/* Waits for some seconds or until run_interrupt. */
void run_idle(struct run *run, double seconds);
/* Begins no flush any more. Safe from any thread. */
void run_interrupt(struct run *run);
bool run_stopping(struct run *run);
void run_finish(struct run *run);
/* p from 0 to 1; sorts, so only after run_finish. */
double run_latency(struct run *run, double p);
void chunk_release(struct chunk *chunk);
void *must(void *allocated);

/* ---- options.c ---- */

struct options {
    const char *plugin, *conf, *tag, *abi, *ack, *skip;
    struct section overrides;
    size_t repeat, reloads, reload_every;
    double seconds, wait, daemon;
    bool json, list;
    char **files;
    size_t file_count;
};

struct acked {
    size_t *len_plus_one; /* by number; 0: not acknowledged */
    size_t room;
};

struct host {
    struct options options;
    struct section *sections;
    struct run run;
    struct acked acked;
    uint64_t next; /* number of the next chunk */
    int interrupted[2];
    sigset_t signals;
    double start, slowest_reload;
    double read_cpu; /* seconds of this program's own thread, which reads the chunks */
    size_t reloads;
    bool broken;
};

/* False after an error, which it has printed. Does not return after -h. */
bool parse_command_line(int argc, char **argv, struct options *o, struct run *run);

/* ---- feed.c ---- */

/* Reads the numbers of the chunks that an earlier run got acknowledged. */
bool read_acked(const char *path, struct acked *acked);
/* Delivers all chunks of the command line. False after an error, which it has printed. */
bool feed(struct host *host);

/* ---- main.c ---- */

/* Replaces the plugin by itself, as a hot reload does. */
bool reload(struct host *host);

#endif
