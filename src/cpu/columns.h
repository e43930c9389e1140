/* columns.h - reads a weight of few bits (opt/weight.h) column by column, from memory or in pieces
 * from where it lies: what packing does, for any device. */
#ifndef WEFT_CPU_COLUMNS_H
#define WEFT_CPU_COLUMNS_H

#include "opt/weight.h"

enum { WEFT_FIELD_CODES, WEFT_FIELD_SCALES, WEFT_FIELD_ZEROS, WEFT_FIELDS };

/* Codes, scales or zeros of a part: a table of a row per step of k and a column per column of the
 * weight, or the other way round (`by_columns`). */
typedef struct weft_field {
  const weft_value *value; /* NULL: none */
  uint32_t bits;           /* of an element */
  bool single, by_columns;
  bool repeats;             /* one element of a column serves all of k */
  uint64_t rows, row_bytes; /* as they lie */
  const uint8_t *data;      /* columns from `first` on, rows `stride` bytes apart */
  uint64_t stride, first;
  uint8_t *piece; /* NULL: read in place */
  uint64_t piece_bytes;
} weft_field;

/* Elements [0, count) of a column as they are stored; codes as bytes. */
void weft_field_column(const weft_field *f, uint64_t column, uint64_t count, uint8_t *to);

/* A walk over the columns of all parts. */
typedef struct weft_columns {
  const weft_graph *graph;
  weft_heap *heap;
  const weft_weight *part;        /* the one at hand ... */
  weft_field fields[WEFT_FIELDS]; /* ... and its fields */
} weft_columns;

/* Calls then(user, column) for each column of each part, numbered in its part; of the fields those
 * from number `wanted` on can be read then. */
weft_status weft_columns_each(weft_columns *columns, const weft_weight_list *weight,
                              uint32_t wanted, void (*then)(void *user, uint64_t column),
                              void *user, weft_error *error);

#endif
