/* nest.c - see nest.h. Used by copy steps, maps, and whatever reads strided inputs. */
#include "cpu/nest.h"

#include "base/memory.h"

void weft_nest_init(weft_nest *nest, int32_t rank, const int64_t *dims) {
  memset(nest, 0, sizeof *nest);
  nest->rank = rank > 0 ? rank : 1;
  nest->dims[0] = 1;
  for (int32_t i = 0; i < rank; i++) nest->dims[i] = dims[i];
}

static void broadcast(int32_t to_rank, int32_t rank, const int64_t *dims, const int64_t *strides,
                      int64_t *out) {
  for (int32_t i = 0; i < to_rank; i++) {
    int32_t from = i - to_rank + rank;
    out[i] = from >= 0 && dims[from] != 1 ? strides[from] : 0;
  }
}

void weft_broadcast_strides(const weft_array *array, int32_t rank, int64_t *strides) {
  broadcast(rank, array->rank, array->dims, array->strides, strides);
}

void weft_nest_add(weft_nest *nest, int32_t rank, const int64_t *dims, const int64_t *strides) {
  broadcast(nest->rank, rank, dims, strides, nest->strides[nest->array_count++]);
}

static bool joins(const weft_nest *nest, int32_t outer, int32_t inner) {
  for (uint32_t k = 0; k < nest->array_count; k++)
    if (nest->strides[k][outer] != nest->strides[k][inner] * nest->dims[inner]) return false;
  return true;
}

void weft_nest_collapse(weft_nest *nest) {
  int32_t kept = 0;
  for (int32_t i = 0; i < nest->rank; i++) {
    if (nest->dims[i] == 1) continue;
    bool join = kept > 0 && joins(nest, kept - 1, i);
    int32_t at = join ? kept - 1 : kept;
    nest->dims[at] = join ? nest->dims[at] * nest->dims[i] : nest->dims[i];
    for (uint32_t k = 0; k < nest->array_count; k++) nest->strides[k][at] = nest->strides[k][i];
    kept = at + 1;
  }
  if (kept == 0) {
    kept = 1;
    nest->dims[0] = 1;
    for (uint32_t k = 0; k < nest->array_count; k++) nest->strides[k][0] = 0;
  }
  nest->rank = kept;
}

void weft_nest_locate(const weft_nest *nest, uint64_t linear, int64_t *offsets, int64_t *index) {
  for (uint32_t k = 0; k < nest->array_count; k++) offsets[k] = 0;
  for (int32_t i = nest->rank - 1; i >= 0; i--) {
    uint64_t extent = (uint64_t)nest->dims[i];
    /* The outermost needs no division, and often there is no other. */
    int64_t at = (int64_t)(i > 0 ? linear % extent : linear);
    if (i > 0) linear /= extent;
    if (index != NULL) index[i] = at;
    for (uint32_t k = 0; k < nest->array_count; k++) offsets[k] += at * nest->strides[k][i];
  }
}

/* The compiler's own memcpy where the length is known: in wasm the plain one is a call. */
void weft_copy_run(uint8_t *to, const uint8_t *from, size_t bytes) {
  if (bytes > 512) {
    memcpy(to, from, bytes);
    return;
  }
  size_t i = 0;
  for (; i + 16 <= bytes; i += 16) __builtin_memcpy(to + i, from + i, 16);
  if (i + 8 <= bytes) __builtin_memcpy(to + i, from + i, 8), i += 8;
  if (i + 4 <= bytes) __builtin_memcpy(to + i, from + i, 4), i += 4;
  for (; i < bytes; i++) to[i] = from[i];
}

/* Elements of any type are moved as integers; weights lie in a file at any address. */
typedef uint16_t __attribute__((may_alias, aligned(1))) bits_16;
typedef uint32_t __attribute__((may_alias, aligned(1))) bits_32;
typedef uint64_t __attribute__((may_alias, aligned(1))) bits_64;

#define COPY_STRIDED(type)                                                                         \
  {                                                                                                \
    const type *x = (const type *)(const void *)from;                                              \
    type *y = (type *)(void *)to;                                                                  \
    for (size_t i = 0; i < count; i++, x += stride) y[i] = *x;                                     \
    return;                                                                                        \
  }

void weft_copy_strided(size_t size, const uint8_t *from, int64_t stride, size_t count,
                       uint8_t *to) {
  if (stride == 1) {
    weft_copy_run(to, from, count * size);
    return;
  }
  switch (size) {
  case 1:
    COPY_STRIDED(uint8_t)
  case 2:
    COPY_STRIDED(bits_16)
  case 4:
    COPY_STRIDED(bits_32)
  default:
    COPY_STRIDED(bits_64)
  }
}

/* Moves `index` to the start of the next row of the innermost dimension, and `offset` along. */
static void next_row(const weft_nest *nest, uint32_t array, int64_t *index, int64_t *offset) {
  const int64_t *strides = nest->strides[array];
  for (int32_t i = nest->rank - 2; i >= 0; i--) {
    *offset += strides[i];
    if (++index[i] < nest->dims[i]) return;
    *offset -= strides[i] * nest->dims[i];
    index[i] = 0;
  }
}

void weft_nest_gather(const weft_nest *nest, uint32_t array, size_t size, const uint8_t *from,
                      uint64_t start, uint64_t count, uint8_t *to) {
  int64_t offsets[WEFT_NEST_ARRAYS], index[WEFT_RANK_MAX];
  weft_nest_locate(nest, start, offsets, index);
  int32_t last = nest->rank - 1;
  uint64_t inner = (uint64_t)nest->dims[last], column = (uint64_t)index[last];
  int64_t stride = nest->strides[array][last];
  int64_t row = offsets[array] - (int64_t)column * stride;
  while (count > 0) {
    uint64_t run = inner - column < count ? inner - column : count;
    weft_copy_strided(size, from + (row + (int64_t)column * stride) * (int64_t)size, stride,
                      (size_t)run, to);
    to += run * size;
    count -= run;
    column = 0;
    if (count > 0) next_row(nest, array, index, &row);
  }
}
