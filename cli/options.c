/* options.c - see options.h. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool list_add(option_list *list, const char *text) {
  const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
  if (!items) return false;
  items[list->count++] = text;
  list->items = items;
  return true;
}

void option_list_free(option_list *list) {
  free(list->items);
  *list = (option_list){0};
}

const char *option_value_of(const char *pair, const char *name) {
  size_t length = strlen(name);
  return strncmp(pair, name, length) == 0 && pair[length] == '=' ? pair + length + 1 : NULL;
}

/* The option that `argument` ("--name" or "--name=value") means. */
static const option *find(const option *table, const char *argument) {
  size_t length = strcspn(argument, "=");
  for (; table->name; table++) {
    if (strlen(table->name) == length && strncmp(table->name, argument, length) == 0) return table;
  }
  return NULL;
}

static bool read_number(const option *found, const char *text) {
  char *end;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno) {
    fprintf(stderr, "weft: --%s needs a number, not '%s'\n", found->name, text);
    return false;
  }
  *(uint64_t *)found->target = number;
  return true;
}

static bool store(const option *found, const char *value) {
  switch (found->kind) {
  case OPTION_FLAG:
    *(bool *)found->target = true;
    return true;
  case OPTION_TEXT:
    *(const char **)found->target = value;
    return true;
  case OPTION_NUMBER:
    return read_number(found, value);
  case OPTION_LIST:
    return list_add(found->target, value);
  }
  return false;
}

/* Reads one option at argv[*at]; *at moves on to its value. */
static bool read_option(const option *table, int argc, char **argv, int *at) {
  const char *argument = argv[*at] + 2;
  const option *found = find(table, argument);
  if (!found) {
    fprintf(stderr, "weft: there is no option --%s\n", argument);
    return false;
  }
  const char *value = strchr(argument, '=');
  if (value) value++;
  if (found->kind == OPTION_FLAG) {
    if (value) fprintf(stderr, "weft: --%s takes no value\n", found->name);
    return !value && store(found, NULL);
  }
  if (!value && *at + 1 < argc) value = argv[++*at];
  if (!value) fprintf(stderr, "weft: --%s needs a %s\n", found->name, found->value_name);
  return value && store(found, value);
}

bool options_read(const option *table, int argc, char **argv, option_list *words, bool *help) {
  bool only_words = false;
  for (int i = 0; i < argc; i++) {
    if (!only_words && strcmp(argv[i], "--") == 0) {
      only_words = true;
    } else if (!only_words && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
      *help = true;
    } else if (!only_words && strncmp(argv[i], "--", 2) == 0) {
      if (!read_option(table, argc, argv, &i)) return false;
    } else if (!list_add(words, argv[i])) {
      return false;
    }
  }
  return true;
}

void options_print(const option *table) {
  for (; table->name; table++) {
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", table->name, table->value_name ? " " : "",
             table->value_name ? table->value_name : "");
    printf("  %-24s %s\n", left, table->help);
  }
}
