/* copy.c - copy steps: a strided array made dense. What remains of transposes, slices and expands
 * that a consumer cannot read. */
#include "cpu/internal.h"
#include "cpu/nest.h"

#define CHUNK_BYTES 32768
#define BLOCK       16 /* rows and columns of a transposed block: a cache line of 4-byte elements */

typedef struct copy_state {
  weft_work work;
  weft_nest nest;
  size_t size; /* of an element */
  uint64_t elements, chunk;
  int32_t rows;           /* transpose: the dimension that is dense in the input */
  int64_t row_step;       /* and its stride in the output */
  uint64_t rows_per_item; /* a multiple of BLOCK */
} copy_state;

typedef struct copy_run {
  const copy_state *state;
  const uint8_t *from;
  uint8_t *to;
} copy_run;

static weft_status gather_chunks(const void *context, uint64_t begin, uint64_t end,
                                 uint8_t *scratch, weft_error *error) {
  (void)scratch, (void)error;
  const copy_run *run = context;
  const copy_state *state = run->state;
  uint64_t first = begin * state->chunk, last = weft_min_u64(end * state->chunk, state->elements);
  weft_nest_gather(&state->nest, 0, state->size, run->from, first, last - first,
                   run->to + first * state->size);
  return WEFT_OK;
}

/* ---- transposes ----------------------------------------------------------------------------- */

/* As in nest.c. */
typedef uint16_t __attribute__((may_alias, aligned(1))) bits_16;
typedef uint32_t __attribute__((may_alias, aligned(1))) bits_32;
typedef uint64_t __attribute__((may_alias, aligned(1))) bits_64;

/* to[r * to_stride + c] = from[c * from_stride + r] */
#define TRANSPOSE(type)                                                                            \
  for (size_t r = 0; r < rows; r++) {                                                              \
    const type *x = (const type *)(const void *)from + r;                                          \
    type *y = (type *)(void *)to + (int64_t)r * to_stride;                                         \
    for (size_t c = 0; c < columns; c++, x += from_stride) y[c] = *x;                              \
  }                                                                                                \
  break;

static void transpose_block(size_t size, size_t rows, size_t columns, const uint8_t *from,
                            int64_t from_stride, uint8_t *to, int64_t to_stride) {
  switch (size) {
  case 1:
    TRANSPOSE(uint8_t)
  case 2:
    TRANSPOSE(bits_16)
  case 4:
    TRANSPOSE(bits_32)
  default:
    TRANSPOSE(bits_64)
  }
}

/* Rows [row, row_end) of one transposed matrix, whose first element is at `from` and `to`. */
static void transpose_rows(const copy_state *state, const uint8_t *from, uint8_t *to, uint64_t row,
                           uint64_t row_end) {
  int32_t last = state->nest.rank - 1;
  uint64_t columns = (uint64_t)state->nest.dims[last];
  int64_t stride = state->nest.strides[0][last], size = (int64_t)state->size;
  for (; row < row_end; row += BLOCK) {
    size_t rows = (size_t)weft_min_u64(BLOCK, row_end - row);
    for (uint64_t column = 0; column < columns; column += BLOCK)
      transpose_block(state->size, rows, (size_t)weft_min_u64(BLOCK, columns - column),
                      from + ((int64_t)column * stride + (int64_t)row) * size, stride,
                      to + ((int64_t)row * state->row_step + (int64_t)column) * size,
                      state->row_step);
  }
}

/* Items: (outer coordinates, group of rows). */
static weft_status transpose_items(const void *context, uint64_t begin, uint64_t end,
                                   uint8_t *scratch, weft_error *error) {
  (void)scratch, (void)error;
  const copy_run *run = context;
  const copy_state *state = run->state;
  const weft_nest *nest = &state->nest;
  uint64_t rows = (uint64_t)nest->dims[state->rows];
  uint64_t groups = (rows + state->rows_per_item - 1) / state->rows_per_item;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t outer = item / groups, row = item % groups * state->rows_per_item;
    int64_t from = 0, to = 0, step = 1;
    for (int32_t i = nest->rank - 1; i >= 0; step *= nest->dims[i--]) {
      if (i == nest->rank - 1 || i == state->rows) continue;
      int64_t at = (int64_t)(outer % (uint64_t)nest->dims[i]);
      outer /= (uint64_t)nest->dims[i];
      from += at * nest->strides[0][i];
      to += at * step;
    }
    transpose_rows(state, run->from + from * (int64_t)state->size,
                   run->to + to * (int64_t)state->size, row,
                   weft_min_u64(row + state->rows_per_item, rows));
  }
  return WEFT_OK;
}

/* ---- preparation ---------------------------------------------------------------------------- */

static weft_status run_copy(const weft_step *step, const weft_execution *execution,
                            weft_error *error) {
  copy_run run = {.state = step->state,
                  .from = weft_array_data(execution, step->inputs[0]),
                  .to = weft_array_data(execution, step->outputs[0])};
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

/* The dimension with stride 1 when the innermost has another one; -1: none. */
static int32_t find_rows(const weft_nest *nest) {
  int32_t last = nest->rank - 1;
  if (nest->strides[0][last] == 1 || nest->strides[0][last] == 0 || nest->dims[last] < 4) return -1;
  for (int32_t i = last - 1; i >= 0; i--)
    if (nest->strides[0][i] == 1 && nest->dims[i] >= 4) return i;
  return -1;
}

static void prepare_transpose(const weft_cpu *cpu, weft_step *step, copy_state *state) {
  const weft_nest *nest = &state->nest;
  uint64_t rows = (uint64_t)nest->dims[state->rows];
  uint64_t columns = (uint64_t)nest->dims[nest->rank - 1];
  state->row_step = (int64_t)weft_extent(nest->dims, state->rows + 1, nest->rank);
  state->rows_per_item = weft_align_up(1 + CHUNK_BYTES / (columns * state->size), BLOCK);
  uint64_t groups = (rows + state->rows_per_item - 1) / state->rows_per_item;
  uint64_t item_elements = columns * weft_min_u64(rows, state->rows_per_item);
  weft_work_prepare(&state->work, cpu, step, transpose_items,
                    groups * (state->elements / (rows * columns)), 0.5 * (double)item_elements, 0);
  step->kernel = "transpose";
}

static void prepare_gather(const weft_cpu *cpu, weft_step *step, copy_state *state) {
  const weft_nest *nest = &state->nest;
  bool runs = nest->strides[0][nest->rank - 1] == 1 && nest->dims[nest->rank - 1] > 4;
  state->chunk = CHUNK_BYTES / state->size;
  weft_work_prepare(&state->work, cpu, step, gather_chunks,
                    (state->elements + state->chunk - 1) / state->chunk,
                    (runs ? 0.05 * (double)state->size : 1.0) *
                        (double)weft_min_u64(state->chunk, state->elements),
                    0);
  step->kernel = nest->rank == 1 && runs ? "copy" : "copy-strided";
}

weft_status weft_cpu_prepare_copy(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  const weft_array *input = step->inputs[0];
  copy_state *state = WEFT_ARENA_NEW(arena, copy_state);
  if (state == NULL) return weft_arena_fail(arena, "a copy", error);
  state->size = weft_dtype_size(input->dtype);
  if (state->size == 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "elements of type %s cannot be copied",
                     weft_dtype_name(input->dtype));
  state->elements = input->elements;
  weft_nest_init(&state->nest, input->rank, input->dims);
  weft_nest_add(&state->nest, input->rank, input->dims, input->strides);
  weft_nest_collapse(&state->nest);
  state->rows = find_rows(&state->nest);
  step->state = state;
  step->run = run_copy;
  if (state->rows >= 0)
    prepare_transpose(cpu, step, state);
  else
    prepare_gather(cpu, step, state);
  return WEFT_OK;
}
