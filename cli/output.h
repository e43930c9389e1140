/* output.h - what people and scripts get to see: errors and a progress bar on stderr, JSON on
 * stdout. Used by all of the program. */
#ifndef WEFT_CLI_OUTPUT_H
#define WEFT_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* "weft: ..." on stderr, in place of a progress bar that stands there. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* A bar on stderr, when that is a terminal and --quiet is not given; it goes when all is done. */
void progress_show(const char *work, uint64_t done, uint64_t total);
void progress_clear(void);
void progress_disable(void);

/* The name at `index` of whatever `of` is; NULL past the end, "" for places without one. */
typedef const char *name_at(const void *of, size_t index);
/* Does `text` ("name", "name=value" or "name,...") begin with one of the names? If not, complains
 * that such a `what` does not exist, and which there are. */
bool check_name(const char *what, const char *text, name_at *names, const void *of);

/* A string for people (without control characters) or for JSON (quoted; what is not UTF-8 becomes
 * U+FFFD). NULL is "". */
void print_text(const char *text, bool json);
/* JSON has no numbers for what is not finite: null. */
void print_number(const char *format, double value, bool json);
void json_dims(const int64_t *dims, size_t rank);

#endif
