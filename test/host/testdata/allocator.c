/* An allocator to put before glibc's: one whose blocks are of 16, 32, 48, … bytes, as jemalloc's are; or, with PREFIXED, one
 * beside glibc's, under the name by which a host calls what it was built with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stddef.h>

#ifdef PREFIXED

size_t je_malloc_usable_size(void *block);

size_t je_malloc_usable_size(void *block)
{
    return malloc_usable_size(block);
}

#else

void *__libc_calloc(size_t n, size_t size);

void *calloc(size_t n, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(n, size, &bytes) ? NULL : __libc_calloc(1, (bytes + 15) / 16 * 16);
}

size_t malloc_usable_size(void *block)
{
    static size_t (*next)(void *);

    if (next == NULL)
        next = (size_t (*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
    return next(block);
}

#endif
