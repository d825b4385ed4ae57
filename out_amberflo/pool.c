/*
 * One pool of workers, whatever the host does. Fluent Bit 2.2.0 to 5.1.1 starts the workers of an output written in Go
 * twice (flb_plugin_proxy.c:588, flb_output.c:1809) and ends one set of them. So their number is set to 0 in Init, which
 * both places see, and the pool is started once, by the host's own function, before it runs: FLBPluginOutputPreRun. A host
 * in which the fault is fixed does not start one either then, and gets the same one pool.
 *
 * What is not handed to a plugin is found out, not counted off from one version's structs:
 *
 * - Where the number stands in the instance: where it changes when the host is told another, twice.
 * - The host's configuration, which its function wants: the one pointer that the instance and the scheduler of this
 *   thread have in common.
 *
 * Where one of them is in doubt, or the host lacks a function, it starts its workers as it does; see workers.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

struct held {
    void *instance, *scheduler, *config;
    int *workers; /* in the instance */
    int n;
    struct held *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct held *all;
static int host_starts_some;

static void *scheduler_of_thread(void)
{
    void *(*get)(void) = amberflo_symbol("flb_sched_ctx_get");

    return get != NULL ? get() : NULL;
}

static int tell_workers(void *instance, const char *n)
{
    int (*set)(void *, const char *, const char *) = amberflo_symbol("flb_output_set_property");

    return set != NULL && set(instance, "workers", n) == 0;
}

/* The one word in size bytes that follows what the host is told; NULL if there is none, or several. */
static int *workers_in(int *instance, size_t size)
{
    static const struct {
        const char *text;
        int number;
    } told[] = {{"19991", 19991}, {"20011", 20011}};
    size_t words = size / sizeof(int), found = 0;
    int *before = malloc(size), *at = NULL;

    if (before == NULL) {
        return NULL;
    }
    memcpy(before, instance, words * sizeof(int));
    char *candidate = calloc(words, 1);
    for (size_t t = 0; candidate != NULL && t < 2 && tell_workers(instance, told[t].text); t++) {
        for (size_t i = 0; i < words; i++) {
            candidate[i] += instance[i] == told[t].number && before[i] != told[t].number;
        }
    }
    for (size_t i = 0; candidate != NULL && i < words; i++) {
        if (candidate[i] == 2) {
            at = &instance[i];
            *at = before[i];
            found++;
        }
    }
    free(candidate);
    free(before);
    if (found == 0) {
        tell_workers(instance, "1"); /* what it was is lost: this is what the examples have */
    }
    return found == 1 ? at : NULL;
}

static int is_pointer(void *word)
{
    uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE), at = (uintptr_t) word;
    unsigned char resident;

    return at >= page && at % sizeof(void *) == 0 && mincore((void *) (at - at % page), 1, &resident) == 0;
}

/* The one pointer that two blocks have in common, or NULL. */
static void *common_pointer(void **a, size_t a_size, void **b, size_t b_size)
{
    void *common = NULL;

    for (size_t i = 0; i < a_size / sizeof *a; i++) {
        for (size_t j = 0; j < b_size / sizeof *b; j++) {
            if (a[i] != b[j] || a[i] == common || !is_pointer(a[i])) {
                continue;
            }
            if (common != NULL) {
                return NULL;
            }
            common = a[i];
        }
    }
    return common;
}

/* Fills in what is found out about an instance; 1 if it is enough to start its workers from here. */
static int find_out(struct held *h)
{
    size_t (*usable)(void *) = amberflo_usable_size();

    if (usable == NULL || amberflo_symbol("flb_output_pre_run") == NULL ||
        amberflo_symbol("flb_output_enable_multi_threading") == NULL || (h->scheduler = scheduler_of_thread()) == NULL) {
        return 0;
    }
    h->config = common_pointer(h->instance, usable(h->instance), h->scheduler, usable(h->scheduler));
    if (h->config == NULL || (h->workers = workers_in(h->instance, usable(h->instance))) == NULL) {
        return 0;
    }
    h->n = *h->workers;
    return 1;
}

void amberflo_hold_workers(void *instance)
{
    struct held *h = calloc(1, sizeof *h);

    if (h == NULL) {
        return;
    }
    h->instance = instance;
    pthread_mutex_lock(&mutex);
    if (find_out(h) && h->n > 0) {
        *h->workers = 0;
        h->next = all;
        all = h;
    }
    else {
        host_starts_some |= h->workers == NULL;
        free(h);
    }
    pthread_mutex_unlock(&mutex);
}

/* Takes what an engine holds out of the list, so that it can be started without the mutex. */
static struct held *taken(void *scheduler)
{
    struct held *mine = NULL;

    pthread_mutex_lock(&mutex);
    for (struct held **at = &all; *at != NULL;) {
        struct held *h = *at;

        if (scheduler != NULL && h->scheduler != scheduler) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        h->next = mine;
        mine = h;
    }
    pthread_mutex_unlock(&mutex);
    return mine;
}

void amberflo_start_workers(void)
{
    int (*start)(void *, void *) = amberflo_symbol("flb_output_enable_multi_threading");

    for (struct held *h = taken(scheduler_of_thread()), *next; h != NULL; h = next) {
        next = h->next;
        if (*h->workers == 0) {
            *h->workers = h->n;
            start(h->instance, h->config);
        }
        free(h);
    }
}

void amberflo_forget_workers(void)
{
    for (struct held *h = taken(NULL), *next; h != NULL; h = next) {
        next = h->next;
        free(h);
    }
}

int amberflo_host_starts_workers(void)
{
    return host_starts_some;
}
