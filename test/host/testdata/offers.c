//go:build ignore

/* A plugin that does nothing but offer options, through the code with which the real one does. Without Go, so that
 * valgrind follows every step of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../out_amberflo/host.h"

struct def {
    int type, proxy, flags;
    char *name, *description;
};

int FLBPluginRegister(struct def *def)
{
    static const struct amberflo_option options[] = {
        {0, "bucket", NULL, "the bucket"}, {5, "total_file_size", "50M", "an object's end"}, {3, "hide_secrets", "true", "no secrets"}};

    def->type = 2;
    def->proxy = 11;
    def->name = strdup("amberflo");
    def->description = strdup("offers options");
    int taken = amberflo_offer_options(def, options, 3);
    if (getenv("OFFERS_TELL"))
        fprintf(stderr, "taken: %d\n", taken);
    return 0;
}

int FLBPluginInit(void *plugin)
{
    (void)plugin;
    return 1;
}

int FLBPluginFlushCtx(void *context, const void *data, int length, const char *tag)
{
    (void)context, (void)data, (void)length, (void)tag;
    return 1;
}

void FLBPluginUnregister(struct def *def)
{
    free(def->name);
    free(def->description);
}
