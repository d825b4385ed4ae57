//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: amberflo-host -e PLUGIN.so [-c CONF] [option...] CHUNKFILE... | -\n"
    "\n"
    "Loads an output plugin through the interface that Fluent Bit has for Go plugins and\n"
    "flushes chunks to it. It is a test tool and a way to try the plugin, no replacement\n"
    "for Fluent Bit: it has no inputs, parsers, filters or storage.\n"
    "\n"
    "  CHUNKFILE            one chunk: msgpack events as Fluent Bit hands them to a flush\n"
    "  -                    chunks from stdin, each as a frame: 4 bytes length of the tag,\n"
    "                       the tag, 4 bytes length of the chunk, the chunk (big-endian)\n"
    "  -e FILE              the plugin\n"
    "  -c FILE              a classic configuration; its [OUTPUT] sections of the plugin's\n"
    "                       name are used, @SET and ${VARIABLE} work, the rest is ignored\n"
    "  -p KEY=VALUE         sets a property of every such section; empty takes it away.\n"
    "                       Without -c there is one section with Name amberflo, Match *\n"
    "  -t TAG               the tag of the chunk files (app.log)\n"
    "  --threads N          flush from N threads (1)\n"
    "  --repeat N           deliver every chunk N times, as N chunks (1)\n"
    "  --retry-delay TIME   wait before FLB_RETRY is tried again: 200ms, 1s, 2m (200ms)\n"
    "  --retry-limit N      drop after N retries; no_limits (the default) never does\n"
    "  --seconds TIME       stop after this time as after SIGTERM\n"
    "  --wait TIME          after the last chunk, stay this long before the exit\n"
    "  --reload K           reload K times, evenly spread over the chunk files\n"
    "  --reload-every N     reload after every N chunks\n"
    "  --ack-file FILE      append \"NUMBER TAG LENGTH\" when a chunk is answered FLB_OK (by\n"
    "                       every output it goes to); chunks are numbered from 0\n"
    "  --skip-acked FILE    leave out the chunks that FILE names (may be the ack file)\n"
    "  --abi VERSION        the Fluent Bit to be: 5.1.1 (default), 4.2.3 or 2.1. They differ in\n"
    "                       the length of the definition; writing past it is an error\n"
    "  --entries BYTES      how long an entry of a table of options is: 104 (default) or 96;\n"
    "                       0 for a host that can make none\n"
    "  --options            print the options that the plugin offers, and end\n"
    "  --daemon[=TIME]      fork after loading, as fluent-bit -d does; a child that is not\n"
    "                       initialised after TIME (10s) is ended. The parent waits for it\n"
    "  --scribble           overwrite a chunk's memory once its flush has returned\n"
    "  --json               the summary as JSON\n"
    "\n"
    "The summary is the one line on stdout. Exit status: 0 the chunks were answered (see\n"
    "dropped and left), 1 no start or bad input, 2 the plugin broke the interface (an\n"
    "unknown answer, a write past the definition), 3 it hung after --daemon.\n";

static bool parse_time(const char *text, double *seconds)
{
    char *unit;
    *seconds = strtod(text, &unit);
    if (unit == text || *seconds < 0)
        return false;
    if (strcmp(unit, "ms") == 0)
        *seconds /= 1e3;
    else if (strcmp(unit, "m") == 0)
        *seconds *= 60;
    else if (*unit && strcmp(unit, "s") != 0)
        return false;
    return true;
}

static bool parse_count(const char *text, size_t *count)
{
    char *end;
    errno = 0;
    *count = strtoul(text, &end, 10);
    return end != text && !*end && *text != '-' && errno == 0 && *count > 0;
}

static bool parse_property(const char *text, struct section *overrides)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return false;
    /* Not section_set: an empty value has to reach the sections. */
    struct property *p = must(calloc(1, sizeof *p)), **end = &overrides->properties;
    p->key = must(strndup(text, (size_t)(equals - text)));
    p->value = must(strdup(equals + 1));
    while (*end)
        end = &(*end)->next;
    *end = p;
    return true;
}

enum { THREADS = 256, REPEAT, RETRY_DELAY, RETRY_LIMIT, SECONDS, WAIT, RELOAD, RELOAD_EVERY, ACK, SKIP, ABI, ENTRIES, LIST, DAEMON, SCRIBBLE, JSON };

static bool parse_option(int option, const char *arg, struct options *o, struct run *run)
{
    size_t n;
    switch (option) {
    case 'e': o->plugin = arg; return true;
    case 'c': o->conf = arg; return true;
    case 't': o->tag = arg; return true;
    case 'p': return parse_property(arg, &o->overrides);
    case THREADS: return parse_count(arg, &n) && n <= 1024 && (run->threads = (unsigned)n);
    case REPEAT: return parse_count(arg, &o->repeat);
    case RETRY_DELAY: return parse_time(arg, &run->retry_delay);
    case RETRY_LIMIT:
        if (strcasecmp(arg, "no_limits") == 0)
            run->retry_limit = -1;
        else if (parse_count(arg, &n))
            run->retry_limit = (long)n;
        else
            return false;
        return true;
    case SECONDS: return parse_time(arg, &o->seconds);
    case WAIT: return parse_time(arg, &o->wait);
    case RELOAD: return parse_count(arg, &o->reloads);
    case RELOAD_EVERY: return parse_count(arg, &o->reload_every);
    case ACK: o->ack = arg; return true;
    case SKIP: o->skip = arg; return true;
    case ABI:
        o->abi = arg;
        return definition_known(arg);
    case ENTRIES: return (strcmp(arg, "0") == 0 && entries_are(0)) || (parse_count(arg, &n) && entries_are(n));
    case LIST: o->list = true; return true;
    case DAEMON:
        o->daemon = 10;
        return !arg || (parse_time(arg, &o->daemon) && o->daemon >= 1);
    case SCRIBBLE: run->scribble = true; return true;
    case JSON: o->json = true; return true;
    default: return false;
    }
}

static const struct option names[] = {
    {"threads", 1, 0, THREADS}, {"repeat", 1, 0, REPEAT}, {"retry-delay", 1, 0, RETRY_DELAY},
    {"retry-limit", 1, 0, RETRY_LIMIT}, {"seconds", 1, 0, SECONDS}, {"wait", 1, 0, WAIT},
    {"reload", 1, 0, RELOAD}, {"reload-every", 1, 0, RELOAD_EVERY}, {"ack-file", 1, 0, ACK},
    {"skip-acked", 1, 0, SKIP}, {"abi", 1, 0, ABI}, {"entries", 1, 0, ENTRIES}, {"options", 0, 0, LIST}, {"daemon", 2, 0, DAEMON},
    {"scribble", 0, 0, SCRIBBLE}, {"json", 0, 0, JSON}, {"help", 0, 0, 'h'}, {0, 0, 0, 0},
};

bool parse_command_line(int argc, char **argv, struct options *o, struct run *run)
{
    int option, index = -1;
    while ((option = getopt_long(argc, argv, "e:c:p:t:h", names, &index)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (option == '?')
            return false;
        if (!parse_option(option, optarg, o, run)) {
            char letter[2] = {(char)option, 0};
            fprintf(stderr, "option %s: got \"%s\"; see -h for what it wants\n", option < 256 ? letter : names[index].name, optarg ? optarg : "");
            return false;
        }
    }
    o->files = argv + optind;
    o->file_count = (size_t)(argc - optind);
    if (!o->plugin || (o->file_count == 0 && !o->list)) {
        fprintf(stderr, "want a plugin (-e) and at least one chunk file or -; see -h\n");
        return false;
    }
    if (o->reloads) {
        for (size_t i = 0; i < o->file_count; i++) {
            if (strcmp(o->files[i], "-") == 0) {
                fprintf(stderr, "--reload wants chunk files, whose number is known; use --reload-every with -\n");
                return false;
            }
        }
        o->reload_every = o->file_count * o->repeat / (o->reloads + 1);
        if (o->reload_every == 0)
            o->reload_every = 1;
    }
    return true;
}
