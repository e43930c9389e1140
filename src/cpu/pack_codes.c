/* pack_codes.c - weights of few bits from the form that a file gives them (opt/weight.h) into
 * panels: column by column, each with its codes as bytes, and its scales and offsets as floats. */
#include "cpu/codes.h"
#include "cpu/columns.h"
#include "cpu/convert.h"
#include "cpu/nest.h"

#define PIECE_BYTES (4u << 20)

/* Scales for whole columns are repeated for blocks of about this many codes, for the rows that
 * they meet are rounded block by block: short blocks are exacter, long ones quicker. */
#define BLOCK_MAX  256
#define BLOCK_STEP 32

/* ---- parts ---------------------------------------------------------------------------------- */

/* The job, and one panel in the making. */
typedef struct packing {
  const weft_kernels *kernels;
  weft_columns columns;
  weft_heap *heap;
  weft_packed *header;
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

static bool is_signed(const packing *job) {
  return job->columns.part->data->dtype == WEFT_I8;
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
  return job->columns.part->dequantize->attributes.dequantize.zero + shift_of(job);
}

/* Takes the first zero that comes for the format's, and notes whether the others are the same. */
static void compare_zeros(void *user, uint64_t column) {
  packing *job = user;
  const weft_field *zeros = &job->columns.fields[WEFT_FIELD_ZEROS];
  if (job->zeros_differ) return;
  if (zeros->value != NULL && weft_dtype_is_float(zeros->value->dtype)) {
    job->zeros_differ = true;
    return;
  }
  if (zeros->value != NULL) weft_field_column(zeros, column, job->blocks, job->raw);
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
  WEFT_TRY(
      weft_columns_each(&job->columns, weight, WEFT_FIELD_ZEROS, compare_zeros, job, job->error));
  format->has_offsets = job->zeros_differ || job->zero < 0 || job->zero >= 1 << format->bits;
  uint32_t middle = format->narrow ? 64 : 1u << (format->bits - 1);
  format->zero = format->has_offsets ? middle : (uint32_t)job->zero;
  return WEFT_OK;
}

/* ---- panels --------------------------------------------------------------------------------- */

static void read_floats(packing *job, const weft_field *f, uint64_t column, float *to) {
  weft_convert_fn *load = weft_class_loader(job->kernels, f->value->dtype);
  weft_field_column(f, column, job->blocks, load == NULL ? (uint8_t *)to : job->raw);
  if (load != NULL) load((size_t)job->blocks, job->raw, to);
}

/* offset = scale * (the format's zero - the block's own) */
static void read_offsets(packing *job, uint64_t column, const float *scales, float *offsets) {
  const weft_field *zeros = &job->columns.fields[WEFT_FIELD_ZEROS];
  float middle = (float)job->header->format.zero, shift = (float)shift_of(job);
  bool floats = zeros->value != NULL && weft_dtype_is_float(zeros->value->dtype);
  if (floats) read_floats(job, zeros, column, offsets);
  if (zeros->value != NULL && !floats) weft_field_column(zeros, column, job->blocks, job->raw);
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

static void pack_column(void *user, uint64_t column) {
  packing *job = user;
  if (job->wide) return;
  const weft_code_format *format = &job->header->format;
  uint64_t k = job->header->k;
  uint8_t *codes = job->codes + job->filled * k;
  float *scales = job->scales + job->filled * job->blocks;
  weft_field_column(&job->columns.fields[WEFT_FIELD_CODES], column, k, codes);
  uint8_t shift = (uint8_t)shift_of(job);
  for (uint64_t i = 0; i < k; i++) codes[i] = (uint8_t)(codes[i] + shift);
  job->wide = format->narrow && !is_narrow(codes, k, format->zero);
  read_floats(job, &job->columns.fields[WEFT_FIELD_SCALES], column, scales);
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
  uint64_t columns = job->kernels->gemm_columns, n = job->columns.part->n;
  for (uint64_t j = 0, count; j < n; j += count) {
    uint64_t at = (column + j) % columns;
    count = weft_min_u64(columns - at, n - j);
    uint8_t *to = (uint8_t *)(uintptr_t)weft_packed_panel(job->header, (column + j) / columns);
    weft_copy_run(to + (row * columns + at) * 2, from + j * 2, (size_t)count * 2);
  }
}

static weft_status pack_rows(packing *job, uint64_t column) {
  const weft_buffer *from = job->columns.part->data->data;
  uint64_t row_bytes = job->columns.part->n * 2, k = job->columns.part->k;
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
    job->columns.part = &weight->parts[i];
    WEFT_TRY(pack_rows(job, column));
    column += job->columns.part->n;
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
  WEFT_TRY(
      weft_columns_each(&job->columns, weight, WEFT_FIELD_CODES, pack_column, job, job->error));
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
  packing job = {.kernels = kernels,
                 .columns = {.graph = graph, .heap = heap},
                 .heap = heap,
                 .header = &header,
                 .error = error};
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
