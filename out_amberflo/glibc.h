/*
 * Put in front of all C (CGO_CFLAGS, see the Makefile): binds the functions that moved into libc.so.6, or got a new
 * version, with glibc 2.32 and 2.34 to the version that they had before, which every later glibc has too. So the plugin
 * loads from glibc 2.17 on, wherever it was built.
 */
#if defined(__ASSEMBLER__)
#elif defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#endif

#ifdef FIRST
#define AS_BEFORE(name) __asm__(".symver " #name ", " #name "@" FIRST)
AS_BEFORE(dladdr);
AS_BEFORE(dlsym);
AS_BEFORE(pthread_attr_getstack);
AS_BEFORE(pthread_attr_getstacksize);
AS_BEFORE(pthread_create);
AS_BEFORE(pthread_getattr_np);
AS_BEFORE(pthread_getspecific);
AS_BEFORE(pthread_key_create);
AS_BEFORE(pthread_setspecific);
AS_BEFORE(pthread_sigmask);
#undef AS_BEFORE
#undef FIRST
#endif
