//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool read_acked(const char *path, struct acked *acked)
{
    FILE *f = fopen(path, "r");
    if (!f && errno == ENOENT)
        return true; /* nothing was acknowledged yet */
    char *line = NULL;
    size_t room = 0;
    ssize_t got;
    bool good = f != NULL;
    while (good && (got = getline(&line, &room, f)) > 0) {
        char *length = strrchr(line, ' '), *end = NULL;
        unsigned long long seq = strtoull(line, &end, 10);
        good = length && end > line && *end == ' ' && seq < 1ULL << 32 && line[got - 1] == '\n';
        if (!good) {
            fprintf(stderr, "read %s: want lines of number, tag and length, got \"%s\"\n", path, line);
            break;
        }
        if (seq >= acked->room) {
            size_t old = acked->room;
            acked->room = (seq + 1) * 2;
            acked->len_plus_one = must(realloc(acked->len_plus_one, acked->room * sizeof(size_t)));
            memset(acked->len_plus_one + old, 0, (acked->room - old) * sizeof(size_t));
        }
        acked->len_plus_one[seq] = strtoul(length + 1, NULL, 10) + 1;
    }
    if (!f)
        fprintf(stderr, "open %s: %s\n", path, strerror(errno));
    else
        fclose(f);
    free(line);
    return good;
}

static bool deliver(struct host *host, struct chunk *chunk)
{
    bool good = true;
    for (size_t i = 0; good && i < host->options.repeat && !run_stopping(&host->run); i++) {
        uint64_t seq = host->next++;
        size_t before = seq < host->acked.room ? host->acked.len_plus_one[seq] : 0;
        if (before && before - 1 != chunk->len) {
            fprintf(stderr, "--skip-acked %s is of another input: chunk %llu has %zu bytes there, %zu here\n",
                    host->options.skip, (unsigned long long)seq, before - 1, chunk->len);
            good = false;
        } else if (before) {
            host->run.skipped++;
        } else {
            run_offer(&host->run, chunk, seq);
        }
        if (good && host->options.reload_every && host->next % host->options.reload_every == 0 &&
            (!host->options.reloads || host->reloads < host->options.reloads))
            good = reload(host);
    }
    chunk_release(chunk);
    return good;
}

/* Answers how many of n bytes came before the end of the file or an interruption, -1 for an error. */
static ssize_t read_full(struct host *host, int fd, void *to, size_t n)
{
    size_t got = 0;
    while (got < n) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = host->interrupted[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -1;
        if (fds[1].revents)
            break;
        if (!fds[0].revents)
            continue;
        ssize_t r = read(fd, (char *)to + got, n - got);
        if (r < 0 && errno != EINTR)
            return -1;
        if (r == 0)
            break;
        if (r > 0)
            got += (size_t)r;
    }
    return (ssize_t)got;
}

static struct chunk *chunk_new(char *tag, unsigned char *data, size_t len)
{
    struct chunk *chunk = must(calloc(1, sizeof *chunk));
    atomic_init(&chunk->references, 1);
    chunk->tag = tag;
    chunk->data = data;
    chunk->len = len;
    return chunk;
}

static bool feed_file(struct host *host, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0, room = 64 << 10;
    unsigned char *data = must(malloc(room));
    ssize_t got = -1;
    while (fd >= 0 && (got = read_full(host, fd, data + len, room - len)) > 0) {
        len += (size_t)got;
        if (len == room)
            data = must(realloc(data, room *= 2));
    }
    if (got < 0) {
        fprintf(stderr, "read chunk file %s: %s\n", path, strerror(errno));
        free(data);
        return false;
    }
    close(fd);
    return deliver(host, chunk_new(must(strdup(host->options.tag)), must(realloc(data, len + 1)), len));
}

/* Reads a field of a frame: its length, then as many bytes and a NUL after them. NULL at the
 * end, whose reason is in *wrong ("" for a proper end). */
static unsigned char *read_field(struct host *host, size_t most, size_t *len, const char **wrong)
{
    unsigned char size[4];
    ssize_t got = read_full(host, 0, size, sizeof size);
    *wrong = got == 0 ? "" : got < 0 ? strerror(errno) : "it ends inside a frame";
    if (got != sizeof size)
        return NULL;
    *len = (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
    if (*len > most) {
        *wrong = "a length is over the bound (tag 64K, chunk 1G): is it a stream of frames?";
        return NULL;
    }
    unsigned char *bytes = must(malloc(*len + 1));
    got = read_full(host, 0, bytes, *len);
    if (got != (ssize_t)*len) {
        *wrong = got < 0 ? strerror(errno) : "it ends inside a frame";
        free(bytes);
        return NULL;
    }
    bytes[*len] = '\0';
    return bytes;
}

static bool feed_stdin(struct host *host)
{
    const char *wrong = "";
    while (!run_stopping(&host->run)) {
        size_t tag_len, len;
        unsigned char *tag = read_field(host, 64 << 10, &tag_len, &wrong), *data;
        if (!tag)
            break;
        data = read_field(host, 1 << 30, &len, &wrong);
        if (!data) {
            free(tag);
            wrong = *wrong ? wrong : "it ends inside a frame";
            break;
        }
        if (!deliver(host, chunk_new((char *)tag, data, len)))
            return false;
    }
    if (!*wrong || run_stopping(&host->run))
        return true;
    fprintf(stderr, "read frames from stdin, chunk %llu: %s\n", (unsigned long long)host->next, wrong);
    return false;
}

bool feed(struct host *host)
{
    bool good = true;
    for (size_t i = 0; good && i < host->options.file_count && !run_stopping(&host->run); i++) {
        const char *file = host->options.files[i];
        good = strcmp(file, "-") == 0 ? feed_stdin(host) : feed_file(host, file);
    }
    return good;
}
