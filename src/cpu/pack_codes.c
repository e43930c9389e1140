/* pack_codes.c - weights of few bits from the form that a file gives them (opt/weight.h) into
 * panels: column by column, each with its codes as bytes, and its scales and offsets as floats. */
#include "cpu/codes.h"
#include "cpu/convert.h"
#include "cpu/nest.h"

#define PIECE_BYTES (4u << 20)
#define PIECE_STEP  64 /* columns: whole bytes of any codes */

/* Scales for whole columns are repeated for blocks of about this many codes, for the rows that
 * they meet are rounded block by block: short blocks are exacter, long ones quicker. */
#define BLOCK_MAX  256
#define BLOCK_STEP 32

enum { CODES, SCALES, ZEROS, FIELDS };

/* ---- fields --------------------------------------------------------------------------------- */

/* Codes, scales or zeros of a part: a table of a row per step of k and a column per column of the
 * weight, or the other way round (`by_columns`). */
typedef struct field {
  const weft_value *value; /* NULL: none */
  uint32_t bits;           /* of an element */
  bool single, by_columns;
  bool repeats;             /* one element of a column serves all of k */
  uint64_t rows, row_bytes; /* as they lie */
  const uint8_t *data;      /* columns from `first` on, rows `stride` bytes apart */
  uint64_t stride, first;
  uint8_t *piece; /* NULL: read in place */
  uint64_t piece_bytes;
} field;

static void field_init(field *f, const weft_graph *graph, const weft_weight *part, uint32_t input) {
  const weft_node *node = part->dequantize;
  *f = (field){0};
  if (input >= node->input_count || node->inputs[input] == WEFT_VALUE_NONE) return;
  f->value = &graph->values[node->inputs[input]];
  bool codes = !weft_dtype_is_float(f->value->dtype);
  f->bits = codes ? node->attributes.dequantize.bits : weft_dtype_bits(f->value->dtype);
  f->single = input != CODES && weft_weight_is_single(graph, part, input);
  f->repeats = f->single || (input != CODES && part->block == 0);
  f->by_columns = part->transposed && f->value->shape.rank == 2;
  f->rows = f->value->shape.rank == 2 ? (uint64_t)f->value->shape.dims[0] : 1;
  f->row_bytes = f->value->data->bytes / f->rows;
}

/* Bytes of a piece of `count` columns. */
static uint64_t piece_size(const field *f, uint64_t count) {
  if (f->value == NULL || f->value->data->data != NULL) return 0;
  if (f->single) return f->row_bytes;
  if (f->by_columns) return count * f->row_bytes;
  return f->rows * weft_min_u64(f->row_bytes, (count * f->bits + 7) / 8);
}

/* Makes columns [first, first + count) readable; `first` is a multiple of PIECE_STEP. */
static weft_status field_load(field *f, uint64_t first, uint64_t count, weft_error *error) {
  if (f->value == NULL) return WEFT_OK;
  const weft_buffer *from = f->value->data;
  f->first = 0;
  f->stride = f->row_bytes;
  f->data = from->data != NULL ? from->data : f->piece;
  if (from->data != NULL) return WEFT_OK;
  if (f->single) return weft_buffer_read(from, 0, f->row_bytes, f->piece, error);
  f->first = first;
  if (f->by_columns)
    return weft_buffer_read(from, first * f->row_bytes, count * f->row_bytes, f->piece, error);
  uint64_t start = first * f->bits / 8;
  f->stride = weft_min_u64(f->row_bytes - start, (count * f->bits + 7) / 8);
  if (f->stride == f->row_bytes)
    return weft_buffer_read(from, 0, f->rows * f->row_bytes, f->piece, error);
  for (uint64_t row = 0; row < f->rows; row++)
    WEFT_TRY(weft_buffer_read(from, row * f->row_bytes + start, f->stride,
                              f->piece + row * f->stride, error));
  return WEFT_OK;
}

/* Codes of less than a byte. */
static void unpack_bits(uint32_t bits, const uint8_t *from, uint64_t count, uint8_t *to) {
  uint32_t mask = (1u << bits) - 1;
  if (bits == 4) {
    for (uint64_t i = 0; i + 1 < count; i += 2) {
      to[i] = from[i / 2] & 15;
      to[i + 1] = from[i / 2] >> 4;
    }
    if (count % 2 != 0) to[count - 1] = from[count / 2] & 15;
    return;
  }
  for (uint64_t i = 0; i < count; i++)
    to[i] = (uint8_t)(from[i * bits / 8] >> (i * bits % 8) & mask);
}

/* Elements [0, count) of a column as they are stored; codes as bytes. */
static void field_column(const field *f, uint64_t column, uint64_t count, uint8_t *to) {
  size_t size = f->bits < 8 ? 1 : f->bits / 8;
  uint64_t at = f->single ? 0 : column - f->first;
  if (f->bits == 8 * size) {
    const uint8_t *from = f->data + (f->by_columns && !f->single ? at * f->stride : at * size);
    int64_t step = f->by_columns ? 1 : (int64_t)(f->stride / size);
    weft_copy_strided(size, from, f->repeats ? 0 : step, (size_t)count, to);
  } else if (f->by_columns && !f->single) {
    unpack_bits(f->bits, f->data + at * f->stride, count, to);
  } else {
    uint32_t mask = (1u << f->bits) - 1, shift = (uint32_t)(at * f->bits % 8);
    const uint8_t *from = f->data + at * f->bits / 8;
    for (uint64_t i = 0; i < count; i++)
      to[i] = (uint8_t)(from[f->repeats ? 0 : i * f->stride] >> shift & mask);
  }
}

/* ---- parts ---------------------------------------------------------------------------------- */

/* The job, and one panel in the making. */
typedef struct packing {
  const weft_kernels *kernels;
  const weft_graph *graph;
  weft_heap *heap;
  weft_packed *header;
  field fields[FIELDS]; /* of a part */
  const weft_weight *part;
  uint64_t blocks, filled, panel; /* columns in the panel; its number */
  uint64_t scratch_bytes;
  uint8_t *scratch;
  uint8_t *codes;          /* [gemm_columns][k] */
  float *scales, *offsets; /* [gemm_columns][blocks] */
  uint8_t *raw;            /* [blocks], of up to 4 bytes */
  int64_t zero;            /* of all, as far as seen */
  bool zero_known, zeros_differ;
  bool wide; /* not all codes fit a narrow format */
  weft_error *error;
} packing;

typedef void column_fn(packing *job, uint64_t column);

static bool is_signed(const packing *job) {
  return job->part->data->dtype == WEFT_I8;
}

/* A part's columns, in pieces of its fields from number `wanted` on. */
static weft_status each_column(packing *job, uint32_t wanted, column_fn *then) {
  uint64_t n = job->part->n, step = n;
  uint64_t column_bytes = job->header->k * job->fields[CODES].bits / 8 + 1;
  uint64_t fits = PIECE_BYTES / column_bytes / PIECE_STEP * PIECE_STEP;
  if (job->fields[CODES].value->data->data == NULL)
    step = weft_min_u64(n, fits > PIECE_STEP ? fits : PIECE_STEP);
  weft_status status = WEFT_OK;
  for (uint32_t i = wanted; i < FIELDS && status == WEFT_OK; i++) {
    field *f = &job->fields[i];
    f->piece_bytes = piece_size(f, step);
    if (f->piece_bytes == 0) continue;
    f->piece = weft_heap_allocate(job->heap, f->piece_bytes);
    if (f->piece == NULL)
      status = weft_heap_fail(job->heap, f->piece_bytes, "packing a weight", job->error);
  }
  for (uint64_t first = 0, count; first < n && status == WEFT_OK; first += count) {
    count = weft_min_u64(step, n - first);
    for (uint32_t i = wanted; i < FIELDS && status == WEFT_OK; i++)
      status = field_load(&job->fields[i], first, count, job->error);
    for (uint64_t j = 0; j < count && status == WEFT_OK; j++) then(job, first + j);
  }
  for (uint32_t i = 0; i < FIELDS; i++) {
    if (job->fields[i].piece != NULL)
      weft_heap_release(job->heap, job->fields[i].piece, job->fields[i].piece_bytes);
    job->fields[i].piece = NULL;
  }
  return status;
}

static weft_status each_part(packing *job, const weft_weight_list *weight, uint32_t wanted,
                             column_fn *then) {
  for (uint32_t i = 0; i < weight->count; i++) {
    job->part = &weight->parts[i];
    for (uint32_t k = 0; k < FIELDS; k++) field_init(&job->fields[k], job->graph, job->part, k);
    WEFT_TRY(each_column(job, wanted, then));
  }
  return WEFT_OK;
}

/* ---- zeros ---------------------------------------------------------------------------------- */

/* What makes codes count from the lowest, as the kernels have them: -128, or -64 in a narrow
 * format.
 */
static int32_t shift_of(const packing *job) {
  return !is_signed(job) ? 0 : job->header->format.narrow ? 64 : 128;
}
static int64_t zero_of(const packing *job, uint8_t code) {
  return (is_signed(job) ? (int8_t)code : code) + shift_of(job);
}
static int64_t plain_zero(const packing *job) {
  return job->part->dequantize->attributes.dequantize.zero + shift_of(job);
}

/* Takes the first zero that comes for the format's, and notes whether the others are the same. */
static void compare_zeros(packing *job, uint64_t column) {
  const field *zeros = &job->fields[ZEROS];
  if (job->zeros_differ) return;
  if (zeros->value != NULL && weft_dtype_is_float(zeros->value->dtype)) {
    job->zeros_differ = true;
    return;
  }
  if (zeros->value != NULL) field_column(zeros, column, job->blocks, job->raw);
  for (uint64_t b = 0; b < job->blocks; b++) {
    int64_t zero = zeros->value != NULL ? zero_of(job, job->raw[b]) : plain_zero(job);
    if (!job->zero_known) job->zero = zero;
    job->zero_known = true;
    job->zeros_differ |= zero != job->zero;
  }
}

/* One zero where that will do; else offsets to the middle, which keeps them small. */
static weft_status choose_zero(packing *job, const weft_weight_list *weight) {
  weft_code_format *format = &job->header->format;
  WEFT_TRY(each_part(job, weight, ZEROS, compare_zeros));
  format->has_offsets = job->zeros_differ || job->zero < 0 || job->zero >= 1 << format->bits;
  uint32_t middle = format->narrow ? 64 : 1u << (format->bits - 1);
  format->zero = format->has_offsets ? middle : (uint32_t)job->zero;
  return WEFT_OK;
}

/* ---- panels --------------------------------------------------------------------------------- */

static void read_floats(packing *job, const field *f, uint64_t column, float *to) {
  weft_convert_fn *load = weft_class_loader(job->kernels, f->value->dtype);
  field_column(f, column, job->blocks, load == NULL ? (uint8_t *)to : job->raw);
  if (load != NULL) load((size_t)job->blocks, job->raw, to);
}

/* offset = scale * (the format's zero - the block's own) */
static void read_offsets(packing *job, uint64_t column, const float *scales, float *offsets) {
  const field *zeros = &job->fields[ZEROS];
  float middle = (float)job->header->format.zero, shift = (float)shift_of(job);
  bool floats = zeros->value != NULL && weft_dtype_is_float(zeros->value->dtype);
  if (floats) read_floats(job, zeros, column, offsets);
  if (zeros->value != NULL && !floats) field_column(zeros, column, job->blocks, job->raw);
  for (uint64_t b = 0; b < job->blocks; b++) {
    float zero = floats                 ? offsets[b] + shift
                 : zeros->value != NULL ? (float)zero_of(job, job->raw[b])
                                        : (float)plain_zero(job);
    offsets[b] = scales[b] * (middle - zero);
  }
}

static void finish_panel(packing *job) {
  if (job->filled == 0) return;
  weft_pack_codes_args args = {
      .format = job->header->format,
      .k = (size_t)job->header->k,
      .columns = (size_t)job->filled,
      .codes = job->codes,
      .codes_stride = (size_t)job->header->k,
      .scales = job->scales,
      .offsets = job->header->format.has_offsets ? job->offsets : NULL,
      .scales_stride = (size_t)job->blocks,
      .to = (uint8_t *)(uintptr_t)weft_packed_panel(job->header, job->panel++)};
  job->kernels->pack_codes(&args);
  job->filled = 0;
}

/* Whether no code of a column is more than 64 from the zero, which is all that 7 bits can be. */
static bool all_near(const uint8_t *codes, uint64_t count, uint32_t zero) {
  uint8_t far = 0, lowest = (uint8_t)(zero - 64);
  for (uint64_t i = 0; i < count; i++) far |= (uint8_t)(codes[i] - lowest) > 128;
  return !far;
}

/* Whether a column keeps to a narrow format (WEFT_NARROW_CODE). */
static bool is_narrow(const uint8_t *codes, uint64_t count, uint32_t zero) {
  if (zero >= 64 && zero + 64 <= WEFT_NARROW_CODE && all_near(codes, count, zero)) return true;
  uint32_t sums[2] = {0};
  for (uint64_t i = 0; i < count; i++) {
    if (i % 8 == 0) sums[0] = sums[1] = 0;
    uint32_t *sum = &sums[i / 2 % 2];
    *sum += codes[i] > zero ? codes[i] - zero : zero - codes[i];
    if (codes[i] > WEFT_NARROW_CODE || *sum > 2 * WEFT_NARROW_CODE) return false;
  }
  return true;
}

static void pack_column(packing *job, uint64_t column) {
  if (job->wide) return;
  const weft_code_format *format = &job->header->format;
  uint64_t k = job->header->k;
  uint8_t *codes = job->codes + job->filled * k;
  float *scales = job->scales + job->filled * job->blocks;
  field_column(&job->fields[CODES], column, k, codes);
  uint8_t shift = (uint8_t)shift_of(job);
  for (uint64_t i = 0; i < k; i++) codes[i] = (uint8_t)(codes[i] + shift);
  job->wide = format->narrow && !is_narrow(codes, k, format->zero);
  read_floats(job, &job->fields[SCALES], column, scales);
  if (format->has_offsets)
    read_offsets(job, column, scales, job->offsets + job->filled * job->blocks);
  if (++job->filled == job->kernels->gemm_columns) finish_panel(job);
}

static weft_status allocate_scratch(packing *job) {
  uint64_t columns = job->kernels->gemm_columns;
  uint64_t codes = weft_align_up(columns * job->header->k, WEFT_ALIGNMENT);
  uint64_t floats = weft_align_up(columns * job->blocks * sizeof(float), WEFT_ALIGNMENT);
  job->scratch_bytes = codes + 2 * floats + job->blocks * sizeof(float);
  job->scratch = weft_heap_allocate(job->heap, job->scratch_bytes);
  if (job->scratch == NULL)
    return weft_heap_fail(job->heap, job->scratch_bytes, "packing a weight", job->error);
  job->codes = job->scratch;
  job->scales = (float *)(void *)(job->codes + codes);
  job->offsets = (float *)(void *)(job->codes + codes + floats);
  job->raw = job->codes + codes + 2 * floats;
  return WEFT_OK;
}

/* ---- floats --------------------------------------------------------------------------------- */

/* Row `row` of a part, at `from`, whose first column is number `column` of the weight. */
static void pack_row(packing *job, uint64_t row, uint64_t column, const uint8_t *from) {
  uint64_t columns = job->kernels->gemm_columns, n = job->part->n;
  for (uint64_t j = 0, count; j < n; j += count) {
    uint64_t at = (column + j) % columns;
    count = weft_min_u64(columns - at, n - j);
    uint8_t *to = (uint8_t *)(uintptr_t)weft_packed_panel(job->header, (column + j) / columns);
    weft_copy_run(to + (row * columns + at) * 2, from + j * 2, (size_t)count * 2);
  }
}

static weft_status pack_rows(packing *job, uint64_t column) {
  const weft_buffer *from = job->part->data->data;
  uint64_t row_bytes = job->part->n * 2, k = job->part->k;
  uint64_t step = from->data != NULL ? k : weft_min_u64(k, 1 + PIECE_BYTES / row_bytes);
  uint64_t piece_bytes = from->data != NULL ? 0 : step * row_bytes;
  uint8_t *piece = from->data != NULL ? NULL : weft_heap_allocate(job->heap, piece_bytes);
  if (from->data == NULL && piece == NULL)
    return weft_heap_fail(job->heap, piece_bytes, "packing a weight", job->error);
  weft_status status = WEFT_OK;
  for (uint64_t row = 0, count; row < k && status == WEFT_OK; row += count) {
    count = weft_min_u64(step, k - row);
    if (piece != NULL)
      status = weft_buffer_read(from, row * row_bytes, count * row_bytes, piece, job->error);
    const uint8_t *rows = piece != NULL ? piece : from->data;
    for (uint64_t r = 0; r < count && status == WEFT_OK; r++)
      pack_row(job, row + r, column, rows + r * row_bytes);
  }
  weft_heap_release(job->heap, piece, piece_bytes);
  return status;
}

static weft_status pack_floats(packing *job, const weft_weight_list *weight) {
  uint64_t column = 0;
  for (uint32_t i = 0; i < weight->count; i++) {
    job->part = &weight->parts[i];
    WEFT_TRY(pack_rows(job, column));
    column += job->part->n;
  }
  return WEFT_OK;
}

/* ---- all ------------------------------------------------------------------------------------ */

static uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

static void set_format(const weft_weight_list *weight, weft_packed *header) {
  const weft_weight *part = &weight->parts[0];
  header->format.bits = part->dequantize->attributes.dequantize.bits;
  uint64_t block = part->block;
  if (block == 0) {
    block = divide_up(part->k, divide_up(part->k, BLOCK_MAX));
    block = weft_align_up(block, BLOCK_STEP);
  }
  header->format.block = (uint32_t)block;
}

/* What is known before the zeros have been looked at. */
static weft_packed describe(const weft_kernels *kernels, const weft_weight_list *weight) {
  const weft_weight *part = &weight->parts[0];
  weft_packed header = {
      .k = weight->k, .n = weight->n, .panels = divide_up(weight->n, kernels->gemm_columns)};
  if (part->dequantize != NULL)
    set_format(weight, &header);
  else
    header.kind = part->data->dtype == WEFT_F16 ? WEFT_PACKED_F16 : WEFT_PACKED_BF16;
  header.panel_bytes = weight->k * kernels->gemm_columns * 2;
  return header;
}

static weft_status pack_codes(packing *job, const weft_weight_list *weight) {
  WEFT_TRY(each_part(job, weight, CODES, pack_column));
  finish_panel(job);
  return WEFT_OK;
}

/* The buffer, once the format says how large it is. */
static weft_status fill_buffer(packing *job, const weft_weight_list *weight, weft_buffer **out) {
  weft_packed *header = job->header;
  if (header->kind == WEFT_PACKED_CODES)
    header->panel_bytes = weft_align_up(
        job->kernels->codes_panel_bytes(header->format, (size_t)header->k), WEFT_ALIGNMENT);
  uint64_t bytes = WEFT_ALIGNMENT + header->panels * header->panel_bytes;
  weft_buffer *packed = weft_buffer_new(job->heap, bytes);
  if (packed == NULL) return weft_heap_fail(job->heap, bytes, "a packed weight", job->error);
  memset(packed->data, 0, (size_t)bytes);
  memcpy(packed->data, header, sizeof *header);
  job->header = (weft_packed *)(void *)packed->data;
  weft_status status =
      header->kind == WEFT_PACKED_CODES ? pack_codes(job, weight) : pack_floats(job, weight);
  if (status != WEFT_OK) weft_buffer_release(&packed);
  *out = packed;
  return status;
}

/* As a narrow format or not; `wide`: it is none. */
static weft_status pack_as(const weft_kernels *kernels, const weft_graph *graph,
                           const weft_weight_list *weight, weft_heap *heap, bool narrow, bool *wide,
                           weft_buffer **out, weft_error *error) {
  weft_packed header = describe(kernels, weight);
  packing job = {
      .kernels = kernels, .graph = graph, .heap = heap, .header = &header, .error = error};
  weft_status status = WEFT_OK;
  if (header.kind == WEFT_PACKED_CODES) {
    header.format.narrow = narrow && header.format.bits == 8;
    job.blocks = divide_up(weight->k, header.format.block);
    status = allocate_scratch(&job);
    if (status == WEFT_OK) status = choose_zero(&job, weight);
  }
  if (status == WEFT_OK) status = fill_buffer(&job, weight, out);
  weft_heap_release(heap, job.scratch, job.scratch_bytes);
  *wide = job.wide;
  return status;
}

weft_status weft_cpu_pack_weight(const weft_cpu *cpu, const weft_graph *graph,
                                 const weft_weight_list *weight, weft_heap *heap, weft_buffer **out,
                                 weft_error *error) {
  bool wide;
  WEFT_TRY(pack_as(cpu->kernels, graph, weight, heap, true, &wide, out, error));
  if (!wide) return WEFT_OK;
  weft_buffer_release(out);
  return pack_as(cpu->kernels, graph, weight, heap, false, &wide, out, error);
}
