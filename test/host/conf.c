//go:build ignore

#define _GNU_SOURCE
#include "host.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *section_get(const struct section *section, const char *key)
{
    for (const struct property *p = section->properties; p; p = p->next)
        if (strcasecmp(p->key, key) == 0)
            return p->value;
    return NULL;
}

static void section_add(struct section *section, const char *key, const char *value)
{
    struct property **end = &section->properties;
    while (*end)
        end = &(*end)->next;
    *end = must(calloc(1, sizeof **end));
    (*end)->key = must(strdup(key));
    (*end)->value = must(strdup(value));
}

void section_set(struct section *section, const char *key, const char *value)
{
    struct property **p = &section->properties;
    while (*p) {
        struct property *old = *p;
        if (strcasecmp(old->key, key) != 0) {
            p = &old->next;
            continue;
        }
        *p = old->next;
        free(old->key);
        free(old->value);
        free(old);
    }
    if (*value)
        section_add(section, key, value);
}

/* Variables of the configuration itself (@SET) come before the environment. */
static char *expand(const char *text, const struct section *set, const char *where)
{
    char *out = NULL;
    size_t len = 0;
    FILE *f = must(open_memstream(&out, &len));

    while (*text) {
        const char *end = strncmp(text, "${", 2) == 0 ? strchr(text, '}') : NULL;
        if (!end) {
            fputc(*text++, f);
            continue;
        }
        char *name = must(strndup(text + 2, (size_t)(end - text - 2)));
        const char *value = section_get(set, name);
        if (!value)
            value = getenv(name);
        if (value)
            fputs(value, f);
        else
            host_log(" warn", "[env] %s: variable ${%s} is used but not set", where, name);
        free(name);
        text = end + 1;
    }
    fclose(f);
    return must(out);
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    char *end = s + strlen(s);
    while (end > s && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return s;
}

static bool set_variable(struct section *set, char *assignment, const char *where)
{
    char *equals = strchr(assignment, '=');
    if (!equals) {
        fprintf(stderr, "%s: want @SET name=value, got \"%s\"\n", where, assignment);
        return false;
    }
    *equals = '\0';
    section_set(set, trim(assignment), trim(equals + 1));
    return true;
}

bool conf_load(const char *path, struct section **sections)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "open configuration %s: %s\n", path, strerror(errno));
        return false;
    }
    struct section set = {0}, *current = NULL, **end = sections;
    while (*end)
        end = &(*end)->next;
    char *line = NULL, where[4096];
    size_t room = 0;
    bool good = true, in_section = false;

    for (int number = 1; good && getline(&line, &room, f) >= 0; number++) {
        snprintf(where, sizeof where, "%s:%d", path, number);
        char *text = trim(line);
        if (*text == '\0' || *text == '#')
            continue;
        if (strncasecmp(text, "@SET", 4) == 0 && isspace((unsigned char)text[4])) {
            good = set_variable(&set, trim(text + 4), where);
            continue;
        }
        if (*text == '@') {
            fprintf(stderr, "%s: want @SET or a section, got \"%s\", which this host does not know: write the included text out\n", where, text);
            good = false;
            continue;
        }
        if (*text == '[') {
            in_section = true;
            current = NULL;
            if (strcasecmp(text, "[OUTPUT]") == 0) {
                current = *end = must(calloc(1, sizeof **end));
                end = &current->next;
            }
            continue;
        }
        char *space = text + strcspn(text, " \t");
        if (!in_section || *space == '\0') {
            fprintf(stderr, "%s: want %s, got \"%s\"\n", where, in_section ? "a key and a value" : "a section such as [OUTPUT]", text);
            good = false;
            continue;
        }
        if (!current)
            continue;
        *space = '\0';
        char *value = expand(trim(space + 1), &set, where);
        if (*value)
            section_add(current, text, value);
        free(value);
    }
    free(line);
    fclose(f);
    return good;
}

bool tag_matches(const char *tag, const char *match)
{
    const char *star = NULL, *retry = NULL;
    while (*tag) {
        if (*match == '*') {
            star = match++;
            retry = tag;
        } else if (*match == *tag) {
            match++;
            tag++;
        } else if (star) {
            match = star + 1;
            tag = ++retry;
        } else {
            return false;
        }
    }
    while (*match == '*')
        match++;
    return *match == '\0';
}
