/* options.h - command line options from a table, which prints the help too. */
#ifndef WEFT_CLI_OPTIONS_H
#define WEFT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
  OPTION_FLAG,
  OPTION_TEXT,
  OPTION_CHOICE, /* a text, only by "--name=text"; "" without one */
  OPTION_NUMBER, /* below 2^32, so that callers may scale it */
  OPTION_COUNT,  /* the same, from 1 */
  OPTION_LIST,   /* texts */
  OPTION_PAIRS,  /* "name=value" */
  OPTION_DIMS,   /* "name=number" */
  OPTION_SHAPES, /* "name=number,number"; "name=" is a scalar's */
} option_kind;

/* Texts in the order given. */
typedef struct option_list {
  const char **items;
  size_t count;
} option_list;

typedef struct option {
  const char *name;       /* without dashes */
  const char *value_name; /* "FILE"; NULL for a flag */
  const char *help;
  option_kind kind;
  void *target; /* bool, const char *, uint64_t or option_list */
} option;

/* Reads argv[0..argc) (no program name): options anywhere, the rest into `words`. Ends at a name
 * NULL. On a mistake, says it on stderr and answers false. `--help` sets *help. */
bool options_read(const option *table, int argc, char **argv, option_list *words, bool *help);
void options_print(const option *table);
bool options_has_list(const option *entry);

bool option_list_add(option_list *list, const char *text);
void option_list_free(option_list *list);
/* Of the last "name=value" in the list with that name: the value, or NULL. */
const char *option_list_find(const option_list *list, const char *name);

#endif
