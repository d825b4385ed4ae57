/*
 * What the program that loads this library offers beside the proxy interface: its log and its metrics,
 * found by name at run time. Any of it may be missing.
 */
#ifndef AMBERFLO_HOST_H
#define AMBERFLO_HOST_H

#include <stddef.h>

/* What the program exports under a name, or NULL. */
void *amberflo_symbol(const char *name);

/* Whether what FLBPluginInit got is enough to start on; 1 or 0. */
int amberflo_host_suffices(void *plugin);

/* The instance of the output that a plugin context stands for. */
void *amberflo_instance(void *plugin);

/* Its name (amberflo.0, or the alias), or NULL. */
const char *amberflo_name(void *instance);

/* Fluent Bit's levels: 1 error, 2 warn, 3 info, 4 debug. 1 if the output logs at that level, 0 if not,
 * -1 if the host does not say. */
int amberflo_log_enabled(void *instance, int level);

/* 1 if the host printed the line. */
int amberflo_log(int level, const char *line);

/* Makes a metric with the label "name" and, if label is not NULL, that one; NULL if the host has none. */
void *amberflo_metric(void *instance, int counter, const char *name, const char *help, const char *label);

/* Sets one series of it, which is made if it does not exist. */
void amberflo_set(void *metric, int counter, double value, const char *name, const char *label);

/* An option as the host's help shows it. The strings are to live as long as the process. */
struct amberflo_option {
    int kind; /* FLB_CONFIG_MAP_…: 0 string, 2 integer, 3 boolean, 5 size, 6 time */
    const char *name, *default_value, *description;
};

/* Offers all options to the host at the registration; see options.c. 1 if it takes them. */
int amberflo_offer_options(void *definition, const struct amberflo_option *options, int n);

/* Has the host offer a chunk again as often as it takes; 1 if it does. */
int amberflo_retry_without_limit(void *instance);

/* Whether a chunk is a file's, and not in the host's memory alone; 1 where that cannot be told. */
int amberflo_is_stored(const void *chunk);

/* How many bytes a block of the host's allocator has; NULL if that cannot be told. */
size_t (*amberflo_usable_size(void))(void *);

/* Keeps the host from starting the workers of an instance, in its Init; see pool.c. */
void amberflo_hold_workers(void *instance);

/* Starts those of the engine of this thread, before it runs. */
void amberflo_start_workers(void);

/* Drops what was held and never started, because the host gave up before it ran. */
void amberflo_forget_workers(void);

/* Whether workers.c is needed: the host started some by itself. */
int amberflo_host_starts_workers(void);

/* To be called before such an instance goes; see workers.c. */
void amberflo_quiet_workers(void);

#endif
