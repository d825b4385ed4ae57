//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a plugin may fill at its registration: the definition, of the length that it has in a version of
 * Fluent Bit, and the table of options that it may point to from there. */

static const struct version {
    const char *name;
    size_t size;
    bool zeroed; /* calloc, else malloc */
} versions[] = {
    {"2.1", offsetof(struct proxy_def, event_type), false},
    {"4.2.3", offsetof(struct proxy_def, config_map), true},
    {"5.1.1", sizeof(struct proxy_def), true},
};

static const struct version *version_of(const char *abi)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (strcmp(versions[i].name, abi) == 0)
            return &versions[i];
    return NULL;
}

bool definition_known(const char *abi)
{
    return version_of(abi) != NULL;
}

enum { GUARD = 0xA5, WALL_BYTES = 64, HEADER_BYTES = sizeof(size_t) };

/* The block has exactly the length that Fluent Bit asks for, so that the allocator answers for its room as it does there.
 * What lies behind is remembered: the rest of the block and, where the heap puts them side by side (which valgrind
 * prevents, to look itself), the head and the bytes of a second block. */
void definition_make(struct definition *d, const char *abi)
{
    const struct version *version = version_of(abi);
    unsigned char *block = NULL;

    *d = (struct definition){.size = version->size};
    bool beside = false;
    for (int tries = 0; !beside && tries < 100; tries++) {
        /* The blocks of a try that failed are kept, or the next would get the same. */
        block = must(version->zeroed ? calloc(1, version->size) : malloc(version->size));
        d->wall = must(malloc(WALL_BYTES));
        beside = d->wall == block + malloc_usable_size(block) + HEADER_BYTES;
    }
    unsigned char *end = block + malloc_usable_size(block);
    if (!version->zeroed)
        memset(block, GUARD, version->size);
    memset(block + version->size, GUARD, (size_t)(end - block) - version->size);
    memset(d->wall, GUARD, WALL_BYTES);
    d->behind_size = (size_t)((beside ? d->wall + WALL_BYTES : end) - (block + version->size));
    d->behind = must(malloc(d->behind_size + 1));
    memcpy(d->behind, block + version->size, d->behind_size);
    d->def = (struct proxy_def *)block;
}

/* What was overwritten is put back, or the heap would end the program before it has told. */
void definition_check(struct definition *d, const char *after)
{
    unsigned char *behind = (unsigned char *)d->def + d->size;
    for (size_t i = 0; i < d->behind_size; i++) {
        if (behind[i] != d->behind[i]) {
            behind[i] = d->behind[i];
            if (d->overwritten)
                continue;
            d->overwritten = true;
            host_log("error", "[host] %s wrote at byte %zu of the plugin definition, which has %zu in this version", after, d->size + i, d->size);
        }
    }
}

void definition_free(struct definition *d)
{
    free(d->def);
    free(d->wall);
    free(d->behind);
}

/* ---- the table of options (struct flb_config_map) ---- */

static size_t entry_size = 104;

/* The fields at the head of an entry. What follows has grown: 96 bytes, then 104. */
struct entry {
    int type;
    const char *name, *default_value;
    int flags, set_property;
    size_t offset;
    const char *description;
};

struct node {
    struct node *previous, *next;
};

bool entries_are(size_t size)
{
    entry_size = size;
    return size == 0 || size == 96 || size == 104;
}

static const struct entry *entry_at(const void *table, size_t i)
{
    return (const struct entry *)((const char *)table + i * entry_size);
}

/* A ring with a node for each entry and one for its head, as Fluent Bit answers it; exported under its name. */
struct node *flb_config_map_create(void *config, const void *table)
{
    (void)config;
    struct node *head = entry_size == 0 ? NULL : must(malloc(sizeof *head));
    if (!head)
        return NULL;
    head->previous = head->next = head;
    for (size_t i = 0; entry_at(table, i)->name; i++) {
        struct node *node = must(malloc(sizeof *node));
        *node = (struct node){.previous = head->previous, .next = head};
        head->previous->next = node;
        head->previous = node;
    }
    return head;
}

void flb_config_map_destroy(struct node *head)
{
    for (struct node *node = head->next, *next; node != head; node = next) {
        next = node->next;
        free(node);
    }
    free(head);
}

void definition_print_options(const struct definition *d)
{
    const void *table = d->size == sizeof(struct proxy_def) ? d->def->config_map : NULL;
    for (size_t i = 0; table && entry_at(table, i)->name; i++) {
        const struct entry *e = entry_at(table, i);
        printf("%d %s = %s: %s\n", e->type, e->name, e->default_value ? e->default_value : "", e->description);
    }
}
