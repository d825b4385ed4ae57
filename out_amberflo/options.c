/*
 * The table of options, for hosts that take one: Fluent Bit 5.1.1 and later then do not take an unknown key, a key that is set
 * twice and a list, at the start, in --dry-run and at a hot reload, and -h lists them.
 *
 * The definition that a host lets a plugin fill has grown over its versions (flb_plugin_proxy.h): 32 bytes, 40 with
 * event_type, 48 with config_map. And the entries of the table have (flb_config_map.h): 96 bytes, 104 with raw. No version
 * is asked for; both are found out, and where either is in doubt nothing is offered:
 *
 * - The block that the definition lies in has space for the pointer, says the allocator that it comes from. One that rounds 40
 *   up to 48 says so of either version, and whether the pointer would be read is in doubt.
 * - An entry is as long as the step by which the host itself goes from one to the next.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* The part of struct flb_config_map that a plugin fills in. Zeros stand for "nothing of it". */
struct entry {
    int type;
    const char *name;
    const char *default_value;
    int flags;
    int set_property;
    size_t offset;
    const char *description;
};

/* struct flb_plugin_proxy_def, as it is from 5.1.1 on. */
struct definition {
    int type, proxy, flags;
    char *name, *description;
    int event_type;
    void *config_map;
};

/* struct mk_list, whose two pointers go round in either direction. */
struct list {
    struct list *a, *b;
};

enum { LEAST_ENTRY = 88, LARGEST_ENTRY = 192 };

size_t (*amberflo_usable_size(void))(void *)
{
    size_t (*usable)(void *) = amberflo_symbol("malloc_usable_size");
    void *allocate = amberflo_symbol("calloc");
    Dl_info of_usable, of_allocate;

    if (amberflo_symbol("je_malloc_usable_size") != NULL) {
        return NULL; /* built with such a prefix, the host takes its blocks from there, and not from whom calloc is */
    }
    return usable != NULL && allocate != NULL && dladdr((void *) usable, &of_usable) != 0 && dladdr(allocate, &of_allocate) != 0 &&
           of_usable.dli_fbase == of_allocate.dli_fbase ? usable : NULL;
}

static int has_space(void *definition)
{
    size_t (*usable)(void *) = amberflo_usable_size();
    void *shorter;
    int told;

    if (usable == NULL || (shorter = calloc(1, offsetof(struct definition, config_map))) == NULL) {
        return 0;
    }
    told = usable(shorter) < sizeof(struct definition) && usable(definition) >= sizeof(struct definition);
    free(shorter);
    return told;
}

/* How many entries the host finds in a table whose second one is size bytes after the first. */
static int entries_found(size_t size)
{
    struct list *(*create)(void *, void *) = amberflo_symbol("flb_config_map_create");
    void (*destroy)(struct list *) = amberflo_symbol("flb_config_map_destroy");
    char table[3 * LARGEST_ENTRY] = {0};
    const char *second = "b";
    struct list *all;
    int n = 0;

    ((struct entry *) table)->name = "a";
    memcpy(table + size + offsetof(struct entry, name), &second, sizeof second);
    if (create == NULL || destroy == NULL || (all = create(NULL, table)) == NULL) {
        return 0;
    }
    for (struct list *at = all->b; at != all; at = at->b) {
        n++;
    }
    destroy(all);
    return n;
}

/* The size of an entry, or 0. */
static size_t entry_size(void)
{
    for (size_t size = LEAST_ENTRY; size <= LARGEST_ENTRY; size += sizeof(void *)) {
        if (entries_found(size) == 2) {
            return size;
        }
    }
    return 0;
}

int amberflo_offer_options(void *definition, const struct amberflo_option *options, int n)
{
    static char *table; /* for good: the host keeps pointers into it */
    size_t size;

    if (!has_space(definition)) {
        return 0;
    }
    if (table == NULL) {
        if ((size = entry_size()) == 0 || (table = calloc(n + 1, size)) == NULL) {
            return 0;
        }
        for (int i = 0; i < n; i++) {
            struct entry e = {options[i].kind, options[i].name, options[i].default_value, 0, 0, 0, options[i].description};

            memcpy(table + i * size, &e, sizeof e);
        }
    }
    ((struct definition *) definition)->config_map = table;
    return 1;
}
