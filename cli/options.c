/* options.c - see options.h. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

bool option_list_add(option_list *list, const char *text) {
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

const char *option_list_find(const option_list *list, const char *name) {
  size_t length = strlen(name);
  for (size_t i = list->count; i-- > 0;) {
    const char *pair = list->items[i];
    if (strncmp(pair, name, length) == 0 && pair[length] == '=') return pair + length + 1;
  }
  return NULL;
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
  unsigned least = found->kind == OPTION_COUNT;
  char *end;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno || number < least || number > UINT32_MAX) {
    complain("--%s needs a number from %u to %u, not '%s'", found->name, least, UINT32_MAX, text);
    return false;
  }
  *(uint64_t *)found->target = number;
  return true;
}

/* Extents by comma: at most `most` of them. */
static bool are_extents(const char *text, size_t most) {
  for (size_t i = 0; i < most; i++) {
    size_t digits = strspn(text, "0123456789");
    text += digits;
    if (digits == 0 || *text != ',') return digits > 0 && !*text;
    text++;
  }
  return false;
}

static bool is_valid(option_kind kind, const char *text) {
  const char *value = strrchr(text, '=');
  switch (kind) {
  case OPTION_PAIRS:
    return value;
  case OPTION_DIMS:
    return value && are_extents(value + 1, 1);
  case OPTION_SHAPES:
    return value && (!value[1] || are_extents(value + 1, SIZE_MAX));
  default:
    return true;
  }
}

static bool store(const option *found, const char *value) {
  switch (found->kind) {
  case OPTION_FLAG:
    *(bool *)found->target = true;
    return true;
  case OPTION_TEXT:
  case OPTION_CHOICE:
    *(const char **)found->target = value;
    return true;
  case OPTION_NUMBER:
  case OPTION_COUNT:
    return read_number(found, value);
  default:
    if (is_valid(found->kind, value)) return option_list_add(found->target, value);
    complain("--%s needs a %s, not '%s'", found->name, found->value_name, value);
    return false;
  }
}

bool options_has_list(const option *entry) {
  return entry->kind >= OPTION_LIST;
}

/* Reads one option at argv[*at]; *at moves on to its value. */
static bool read_option(const option *table, int argc, char **argv, int *at) {
  const char *argument = argv[*at] + 2;
  const option *found = find(table, argument);
  if (!found) {
    complain("there is no option --%.*s", (int)strcspn(argument, "="), argument);
    return false;
  }
  const char *value = strchr(argument, '=');
  if (value) value++;
  if (found->kind == OPTION_FLAG) {
    if (value) complain("--%s takes no value", found->name);
    return !value && store(found, NULL);
  }
  if (found->kind == OPTION_CHOICE) return store(found, value ? value : "");
  if (!value && *at + 1 < argc) value = argv[++*at];
  if (!value) complain("--%s needs a %s", found->name, found->value_name);
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
    } else if (!only_words && argv[i][0] == '-') {
      complain("there is no option %s", argv[i]);
      return false;
    } else if (!option_list_add(words, argv[i])) {
      return false;
    }
  }
  return true;
}

void options_print(const option *table) {
  for (; table->name; table++) {
    const char *form = table->kind == OPTION_CHOICE ? "--%s[=%s]" : "--%s %s";
    char left[64];
    snprintf(left, sizeof left, table->value_name ? form : "--%s", table->name, table->value_name);
    printf("  %-24s %s\n", left, table->help);
  }
}
