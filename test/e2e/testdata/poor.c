/* A program that loads the plugin and offers too little: each call has to come back, and none may start. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

struct api {
    const char *(*output_get_property)(const char *, void *);
    void *rest;
};
struct plugin {
    char *name;
    struct api *api;
    void *instance;
    void **context;
};

static const char *no_property(const char *key, void *instance)
{
    (void) key, (void) instance;
    return NULL;
}

static void *function(void *library, const char *name)
{
    void *f = dlsym(library, name);

    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", name, dlerror());
        exit(3);
    }
    return f;
}

int main(int argc, char **argv)
{
    void *so = argc == 2 ? dlopen(argv[1], RTLD_LAZY) : NULL;
    void *remote = NULL;
    struct api none = {0}, some = {.output_get_property = no_property};
    struct plugin hosts[] = {
        {.name = "no api", .instance = &none, .context = &remote},
        {.name = "an api without functions", .api = &none, .instance = &none, .context = &remote},
        {.name = "no context", .api = &some, .instance = &none},
        {.name = "no instance", .api = &some, .context = &remote},
    };

    if (so == NULL) {
        fprintf(stderr, "want the plugin as the one argument: %s\n", dlerror());
        return 3;
    }
    int (*init)(void *) = function(so, "FLBPluginInit");
    int (*flush)(void *, const void *, int, const char *) = function(so, "FLBPluginFlushCtx");
    int (*leave)(void *) = function(so, "FLBPluginExitCtx");
    void (*before_leave)(int) = function(so, "FLBPluginOutputPreExit");

    printf("init %d", init(NULL));
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        printf(" %d", init(&hosts[i]));
    printf("\nflush %d %d %d\n", flush(NULL, "", 0, "tag"), flush(&remote, NULL, 5, "tag"), flush(NULL, "", -1, NULL));
    before_leave(1);
    printf("exit %d %d\n", leave(NULL), leave(&remote));
    return 0;
}
