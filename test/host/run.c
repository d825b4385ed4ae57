//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* More bytes than this never wait for a retry at once: the feeder stops reading. */
enum { MOST_BYTES_WAITING = 256 << 20 };

/* A chunk under its number, on its way to all instances that match its tag. */
struct delivery {
    struct chunk *chunk;
    uint64_t seq;
    size_t routes;
    bool failed;
};

struct task {
    struct delivery *delivery;
    size_t instance;
    long retries;
    double due;
    struct task *next;
};

void *must(void *allocated)
{
    if (!allocated) {
        perror("allocate memory");
        abort();
    }
    return allocated;
}

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void chunk_release(struct chunk *chunk)
{
    if (atomic_fetch_sub(&chunk->references, 1) > 1)
        return;
    free(chunk->tag);
    free(chunk->data);
    free(chunk);
}

static void list_append(struct task_list *list, struct task *task)
{
    task->next = NULL;
    if (!list->head)
        list->tail = &list->head;
    *list->tail = task;
    list->tail = &task->next;
    list->count++;
}

static struct task *list_take(struct task_list *list)
{
    struct task *task = list->head;
    list->head = task->next;
    list->count--;
    return task;
}

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, double due)
{
    struct timespec t = {.tv_sec = (time_t)due};
    t.tv_nsec = (long)((due - (double)t.tv_sec) * 1e9);
    pthread_cond_timedwait(cond, mutex, &t);
}

static void acknowledge(struct run *run, const struct delivery *d)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%llu %.400s %zu\n", (unsigned long long)d->seq, d->chunk->tag, d->chunk->len);
    if (run->ack_fd >= 0 && write(run->ack_fd, line, (size_t)n) != n) {
        perror("append to the ack file");
        abort();
    }
}

/* With the mutex held. A chunk is acknowledged when its last route is, as Fluent Bit
 * removes it from its storage. */
static void task_done(struct run *run, struct task *task, bool failed)
{
    struct delivery *d = task->delivery;
    d->failed |= failed;
    run->bytes_waiting -= d->chunk->len;
    if (--d->routes == 0) {
        if (!d->failed)
            acknowledge(run, d);
        chunk_release(d->chunk);
        free(d);
    }
    free(task);
}

static void answered(struct run *run, struct task *task, int answer)
{
    if (answer == FLB_OK) {
        run->ok++;
        run->bytes += task->delivery->chunk->len;
        task_done(run, task, false);
        return;
    }
    if (answer == FLB_RETRY) {
        run->retried++;
        if (run->retry_limit < 0 || task->retries < run->retry_limit) {
            task->retries++;
            task->due = now() + run->retry_delay;
            list_append(&run->delayed, task);
            return;
        }
    } else if (answer != FLB_ERROR) {
        run->bad_answers++;
        host_log("error", "[host] FLBPluginFlushCtx answered %d: want 0 (error), 1 (ok) or 2 (retry); chunk %llu is dropped", answer, (unsigned long long)task->delivery->seq);
    }
    run->dropped++;
    task_done(run, task, true);
}

static int flush(struct run *run, struct task *task)
{
    struct chunk *chunk = task->delivery->chunk;
    if (!run->scribble)
        return plugin_flush(run->plugin, task->instance, chunk->tag, chunk->data, chunk->len);
    unsigned char *copy = must(malloc(chunk->len + 1));
    memcpy(copy, chunk->data, chunk->len);
    int answer = plugin_flush(run->plugin, task->instance, chunk->tag, copy, chunk->len);
    memset(copy, 0xC1, chunk->len); /* 0xC1 is the one byte that msgpack never uses */
    free(copy);
    return answer;
}

static void add_latency(struct run *run, double seconds)
{
    if (run->flushes == run->latency_room) {
        run->latency_room = run->latency_room ? run->latency_room * 2 : 1024;
        run->latencies = must(realloc(run->latencies, run->latency_room * sizeof *run->latencies));
    }
    run->latencies[run->flushes++] = (float)(seconds * 1e3);
}

/* With the mutex held. The delay is one for all, so the list is in the order of time. */
static struct task *next_task(struct run *run)
{
    while (run->delayed.head && run->delayed.head->due <= now())
        list_append(&run->ready, list_take(&run->delayed));
    if (run->stopping || run->paused || !run->ready.head)
        return NULL;
    return list_take(&run->ready);
}

static void *flush_thread(void *arg)
{
    struct run *run = arg;
    pthread_mutex_lock(&run->mutex);
    while (!run->quit) {
        struct task *task = next_task(run);
        if (!task) {
            if (run->delayed.head && !run->stopping && !run->paused)
                wait_until(&run->work, &run->mutex, run->delayed.head->due);
            else
                pthread_cond_wait(&run->work, &run->mutex);
            continue;
        }
        run->running++;
        double begin = now();
        if (run->first_flush == 0)
            run->first_flush = begin;
        pthread_cond_broadcast(&run->change);
        pthread_mutex_unlock(&run->mutex);
        int answer = flush(run, task);
        double end = now();
        pthread_mutex_lock(&run->mutex);
        run->running--;
        add_latency(run, end - begin);
        answered(run, task, answer);
        pthread_cond_broadcast(&run->change);
    }
    pthread_mutex_unlock(&run->mutex);
    return NULL;
}

void run_start(struct run *run)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->work, &monotonic);
    pthread_cond_init(&run->change, &monotonic);
    run->workers = must(calloc(run->threads, sizeof *run->workers));
    for (unsigned i = 0; i < run->threads; i++) {
        errno = pthread_create(&run->workers[i], NULL, flush_thread, run);
        if (errno) {
            perror("start a flush thread");
            abort();
        }
    }
}

static bool has_room(const struct run *run, size_t len)
{
    if (run->ready.count >= 2 * (size_t)run->threads)
        return false;
    return run->bytes_waiting == 0 || run->bytes_waiting + len <= MOST_BYTES_WAITING;
}

void run_offer(struct run *run, struct chunk *chunk, uint64_t seq)
{
    struct delivery *d = must(calloc(1, sizeof *d));
    d->chunk = chunk;
    d->seq = seq;
    atomic_fetch_add(&chunk->references, 1);

    pthread_mutex_lock(&run->mutex);
    while (!run->stopping && !has_room(run, chunk->len))
        pthread_cond_wait(&run->change, &run->mutex);
    run->chunks++;
    for (size_t i = 0; i < plugin_instances(run->plugin); i++) {
        if (!tag_matches(chunk->tag, plugin_match(run->plugin, i)))
            continue;
        struct task *task = must(calloc(1, sizeof *task));
        task->delivery = d;
        task->instance = i;
        d->routes++;
        run->bytes_waiting += chunk->len;
        list_append(&run->ready, task);
    }
    if (d->routes == 0) {
        run->unrouted++;
        chunk_release(chunk);
        free(d);
    }
    pthread_cond_broadcast(&run->work);
    pthread_mutex_unlock(&run->mutex);
}

void run_drain(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    while (run->running || (!run->stopping && (run->ready.head || run->delayed.head)))
        pthread_cond_wait(&run->change, &run->mutex);
    pthread_mutex_unlock(&run->mutex);
}

void run_pause(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->paused = true;
    while (run->running)
        pthread_cond_wait(&run->change, &run->mutex);
    pthread_mutex_unlock(&run->mutex);
}

void run_resume(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->paused = false;
    pthread_cond_broadcast(&run->work);
    pthread_mutex_unlock(&run->mutex);
}

void run_idle(struct run *run, double seconds)
{
    double end = now() + seconds;
    pthread_mutex_lock(&run->mutex);
    while (!run->stopping && now() < end)
        wait_until(&run->change, &run->mutex, end);
    pthread_mutex_unlock(&run->mutex);
}

void run_interrupt(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->stopping = true;
    pthread_cond_broadcast(&run->work);
    pthread_cond_broadcast(&run->change);
    pthread_mutex_unlock(&run->mutex);
}

bool run_stopping(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    bool stopping = run->stopping;
    pthread_mutex_unlock(&run->mutex);
    return stopping;
}

static void leave(struct run *run, struct task_list *list)
{
    while (list->head) {
        run->left++;
        task_done(run, list_take(list), true);
    }
}

void run_finish(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->quit = true;
    pthread_cond_broadcast(&run->work);
    pthread_mutex_unlock(&run->mutex);
    for (unsigned i = 0; i < run->threads; i++)
        pthread_join(run->workers[i], NULL);
    pthread_mutex_lock(&run->mutex);
    leave(run, &run->ready);
    leave(run, &run->delayed);
    pthread_mutex_unlock(&run->mutex);
    free(run->workers);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double run_latency(struct run *run, double p)
{
    if (run->flushes == 0)
        return 0;
    qsort(run->latencies, run->flushes, sizeof *run->latencies, by_size);
    return run->latencies[(size_t)(p * (double)(run->flushes - 1) + 0.5)];
}
