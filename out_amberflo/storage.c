/*
 * Whether a chunk outlives the process. With filesystem storage, Fluent Bit hands over the bytes of its mapped file
 * (….flb) themselves; what lies anywhere else is in memory alone, or was made of the file's by a processor.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "host.h"

int amberflo_is_stored(const void *chunk)
{
    char line[4096];
    uintptr_t from, to, at = (uintptr_t) chunk;
    int stored = 1;
    FILE *f;

    if (amberflo_symbol("cio_chunk_is_file") == NULL || (f = fopen("/proc/self/maps", "re")) == NULL) {
        return 1; /* no such storage, or nothing to tell by */
    }
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%zx-%zx ", &from, &to) == 2 && from <= at && at < to) {
            stored = strstr(line, ".flb") != NULL;
            break;
        }
    }
    fclose(f);
    return stored;
}
