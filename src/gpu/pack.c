/* pack.c - weights of matmuls from the form that a file gives them into words and scales in the
 * GPU's memory (matmul.h), a piece at a time: no weight is ever in the host's memory as a whole. */
#include "cpu/columns.h"
#include "cpu/internal.h"
#include "gpu/matmul.h"

#define COLUMNS      WEFT_GPU_PANEL_COLUMNS
#define PIECE_BYTES  (4u << 20)
#define PANELS_BYTES (1u << 20) /* of codes that are written together */

/* ---- the format as a number ------------------------------------------------------------------ */

/* From the lowest bit: log2 of the bits (3), zero (8), block / WEFT_WEIGHT_BLOCK_STEP (12), flags.
 */
weft_layout weft_gpu_layout(const weft_gpu_format *format) {
  uint32_t word = (uint32_t)__builtin_ctz(format->bits) | format->zero << 3 |
                  format->block / WEFT_WEIGHT_BLOCK_STEP << 11 | (uint32_t)format->bfloat << 23 |
                  (uint32_t)format->f16_scales << 24 | (uint32_t)format->float_zeros << 25 |
                  (uint32_t)format->byte_zeros << 26;
  return (weft_layout)((uint32_t)WEFT_LAYOUT_GPU | word);
}

weft_gpu_format weft_gpu_format_of(weft_layout layout) {
  uint32_t word = (uint32_t)layout;
  return (weft_gpu_format){.bits = 1u << (word & 7),
                           .zero = word >> 3 & 255,
                           .block = (word >> 11 & 4095) * WEFT_WEIGHT_BLOCK_STEP,
                           .bfloat = word >> 23 & 1,
                           .f16_scales = word >> 24 & 1,
                           .float_zeros = word >> 25 & 1,
                           .byte_zeros = word >> 26 & 1};
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

/* Bytes of a zero. */
static uint32_t zero_size(const weft_gpu_format *format) {
  return format->float_zeros ? 4 : format->byte_zeros ? 1 : 0;
}

weft_gpu_places weft_gpu_places_of(const weft_gpu_format *format, uint64_t matrices, uint64_t k,
                                   uint64_t n) {
  weft_gpu_places at = {.words = divide_up(k, weft_gpu_per_word(format)),
                        .panels = divide_up(n, COLUMNS),
                        .blocks = format->block ? divide_up(k, format->block) : 1};
  uint64_t scales = format->bits < 16 ? at.panels * at.blocks * COLUMNS : 0;
  at.matrix = at.panels * at.words * COLUMNS * sizeof(uint32_t);
  at.scales = matrices * at.matrix;
  at.zeros = at.scales + scales * (format->f16_scales ? 2 : 4);
  at.bytes = at.zeros + scales * zero_size(format);
  return at;
}

/* ---- the job --------------------------------------------------------------------------------- */

typedef struct packing {
  weft_columns columns; /* of codes */
  weft_gpu_driver *driver;
  weft_gpu_format format;
  weft_gpu_places places;
  weft_memory memory;
  uint64_t k, column; /* columns so far */
  uint64_t room;      /* panels that are written together */
  uint8_t *scratch;
  uint64_t scratch_bytes;
  uint32_t *words;         /* [panels][words of k][COLUMNS] */
  uint8_t *scales, *zeros; /* [panels][blocks][COLUMNS] */
  uint8_t *codes, *raw;    /* of a column: [k] up to whole words; [blocks] of up to 4 bytes */
  int64_t zero;            /* of all, as far as seen */
  bool zero_known, zeros_differ, has_float_zeros;
  weft_status status;
  weft_error *error;
} packing;

static weft_status allocate(packing *job, uint64_t bytes) {
  job->scratch_bytes = bytes;
  job->scratch = weft_heap_allocate_zeroed(job->columns.heap, bytes);
  return job->scratch ? WEFT_OK
                      : weft_heap_fail(job->columns.heap, bytes, "packing a weight", job->error);
}

static void release(packing *job) {
  weft_heap_release(job->columns.heap, job->scratch, job->scratch_bytes);
  job->scratch = NULL;
}

static weft_status write(packing *job, uint64_t offset, const void *bytes, uint64_t length) {
  if (length == 0) return WEFT_OK;
  return job->driver->write(job->driver, job->memory, offset, bytes, length, job->error);
}

/* ---- zeros ----------------------------------------------------------------------------------- */

/* What makes signed codes count from 0. */
static int32_t shift_of(const packing *job) {
  return job->columns.part->data->dtype == WEFT_I8 ? 128 : 0;
}

static int64_t zero_of(const packing *job, uint8_t code) {
  return shift_of(job) ? (int8_t)code + 128 : code;
}

static int64_t plain_zero(const packing *job) {
  return job->columns.part->dequantize->attributes.dequantize.zero + (int64_t)shift_of(job);
}

static void compare_zero(packing *job, int64_t zero) {
  if (!job->zero_known) job->zero = zero;
  job->zero_known = true;
  job->zeros_differ |= zero != job->zero;
}

static void compare_zeros(void *user, uint64_t column) {
  packing *job = user;
  const weft_field *zeros = &job->columns.fields[WEFT_FIELD_ZEROS];
  const weft_field *scales = &job->columns.fields[WEFT_FIELD_SCALES];
  job->format.f16_scales &= scales->value->dtype == WEFT_F16;
  if (!zeros->value) {
    compare_zero(job, plain_zero(job));
  } else if (weft_dtype_is_float(zeros->value->dtype)) {
    job->has_float_zeros = true;
  } else if (!job->zeros_differ) {
    weft_field_column(zeros, column, job->places.blocks, job->raw);
    for (uint64_t b = 0; b < job->places.blocks; b++) compare_zero(job, zero_of(job, job->raw[b]));
  }
}

/* One zero where that will do. */
static weft_status choose_format(packing *job, const weft_weight_list *weight) {
  weft_gpu_format *format = &job->format;
  WEFT_TRY(allocate(job, job->places.blocks * sizeof(float)));
  job->raw = job->scratch;
  format->f16_scales = true;
  weft_status status =
      weft_columns_each(&job->columns, weight, WEFT_FIELD_ZEROS, compare_zeros, job, job->error);
  release(job);
  bool odd = job->zero_known && (job->zero < 0 || job->zero > 255);
  format->float_zeros = job->has_float_zeros || odd;
  format->byte_zeros = !format->float_zeros && job->zeros_differ;
  format->zero = format->float_zeros || format->byte_zeros ? 0 : (uint32_t)job->zero;
  return status;
}

/* ---- codes ----------------------------------------------------------------------------------- */

static void put_float(uint8_t *to, uint64_t index, float value) {
  memcpy(to + index * sizeof value, &value, sizeof value);
}

static void put_scales(packing *job, uint64_t column, uint64_t at) {
  const weft_field *scales = &job->columns.fields[WEFT_FIELD_SCALES];
  weft_dtype dtype = scales->value->dtype;
  size_t size = weft_dtype_size(dtype);
  weft_field_column(scales, column, job->places.blocks, job->raw);
  for (uint64_t b = 0; b < job->places.blocks; b++) {
    uint64_t index = at + b * COLUMNS;
    if (job->format.f16_scales)
      memcpy(job->scales + index * 2, job->raw + b * 2, 2);
    else
      put_float(job->scales, index, weft_float_at(dtype, job->raw + b * size));
  }
}

static void put_zeros(packing *job, uint64_t column, uint64_t at) {
  const weft_field *zeros = &job->columns.fields[WEFT_FIELD_ZEROS];
  if (!job->format.float_zeros && !job->format.byte_zeros) return;
  weft_dtype dtype = zeros->value ? zeros->value->dtype : WEFT_DTYPE_NONE;
  size_t size = weft_dtype_size(dtype);
  if (zeros->value) weft_field_column(zeros, column, job->places.blocks, job->raw);
  for (uint64_t b = 0; b < job->places.blocks; b++) {
    uint64_t index = at + b * COLUMNS;
    if (zeros->value && weft_dtype_is_float(dtype)) {
      float zero = weft_float_at(dtype, job->raw + b * size);
      put_float(job->zeros, index, zero + (float)shift_of(job));
      continue;
    }
    int64_t zero = zeros->value ? zero_of(job, job->raw[b]) : plain_zero(job);
    if (job->format.float_zeros)
      put_float(job->zeros, index, (float)zero);
    else
      job->zeros[index] = (uint8_t)zero;
  }
}

/* Eight codes of 4 bits that follow each other -> a byte each for the first four, and in the upper
 * halves of these the others. */
static uint32_t spread(uint32_t codes) {
  uint32_t first = codes & 0xffffu, last = codes >> 16;
  first = (first | first << 8) & 0x00ff00ffu;
  last = (last | last << 8) & 0x00ff00ffu;
  return ((first | first << 4) & 0x0f0f0f0fu) | ((last | last << 4) & 0x0f0f0f0fu) << 4;
}

static void put_codes_of_4(packing *job, const uint8_t *from, uint64_t at) {
  for (uint64_t w = 0; w < job->places.words; w++, from += sizeof(uint32_t)) {
    uint32_t codes;
    memcpy(&codes, from, sizeof codes);
    job->words[at + w * COLUMNS] = spread(codes);
  }
}

static void put_codes(packing *job, uint64_t column, uint64_t at) {
  const weft_field *field = &job->columns.fields[WEFT_FIELD_CODES];
  uint32_t bits = job->format.bits, per_word = 32 / bits;
  uint32_t flip = shift_of(job) ? 0x80808080u : 0;
  if (bits == 4 && field->by_columns && job->k % per_word == 0) {
    put_codes_of_4(job, field->data + (column - field->first) * field->stride, at);
    return;
  }
  weft_field_column(field, column, job->k, job->codes);
  const uint8_t *from = job->codes;
  for (uint64_t w = 0; w < job->places.words; w++, from += per_word) {
    uint32_t word = 0, four;
    for (uint32_t i = 0; i < per_word; i += 4) {
      memcpy(&four, from + i, sizeof four);
      word |= four << (i / 4 * bits);
    }
    job->words[at + w * COLUMNS] = word ^ flip;
  }
}

/* Bytes of a panel's words, scales and zeros. */
typedef struct panel_sizes {
  uint64_t words, scales, zeros;
} panel_sizes;

static panel_sizes sizes_of(const packing *job) {
  uint64_t scales = job->places.blocks * COLUMNS;
  return (panel_sizes){job->places.words * COLUMNS * sizeof(uint32_t),
                       scales * (job->format.f16_scales ? 2 : 4), scales * zero_size(&job->format)};
}

/* Writes the panels since the last call, the latest perhaps in part, to where they belong. */
static void write_panels(packing *job) {
  const weft_gpu_places *at = &job->places;
  panel_sizes size = sizes_of(job);
  uint64_t first = (job->column - 1) / COLUMNS / job->room * job->room;
  uint64_t count = divide_up(job->column, COLUMNS) - first;
  job->status = write(job, first * size.words, job->words, count * size.words);
  if (job->status == WEFT_OK)
    job->status = write(job, at->scales + first * size.scales, job->scales, count * size.scales);
  if (job->status == WEFT_OK)
    job->status = write(job, at->zeros + first * size.zeros, job->zeros, count * size.zeros);
}

static void put_column(void *user, uint64_t column) {
  packing *job = user;
  if (job->status != WEFT_OK) return;
  uint64_t panel = job->column / COLUMNS % job->room, at = job->column % COLUMNS;
  put_codes(job, column, panel * job->places.words * COLUMNS + at);
  put_scales(job, column, panel * job->places.blocks * COLUMNS + at);
  put_zeros(job, column, panel * job->places.blocks * COLUMNS + at);
  if (++job->column % (job->room * COLUMNS) == 0) write_panels(job);
}

static weft_status pack_codes(packing *job, const weft_weight_list *weight) {
  panel_sizes size = sizes_of(job);
  uint64_t codes = weft_align_up(job->k, 16), raw = job->places.blocks * sizeof(float);
  job->room = weft_min_u64(job->places.panels, 1 + PANELS_BYTES / size.words);
  uint64_t words = job->room * size.words, scales = weft_align_up(job->room * size.scales, 16);
  uint64_t zeros = weft_align_up(job->room * size.zeros, 16);
  WEFT_TRY(allocate(job, words + scales + zeros + codes + raw));
  job->words = (uint32_t *)(void *)job->scratch;
  job->scales = job->scratch + words;
  job->zeros = job->scales + scales;
  job->codes = job->zeros + zeros;
  job->raw = job->codes + codes;
  WEFT_TRY(weft_columns_each(&job->columns, weight, WEFT_FIELD_CODES, put_column, job, job->error));
  if (job->status == WEFT_OK && job->column % (job->room * COLUMNS) != 0) write_panels(job);
  return job->status;
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* Rows [row, row + count) of all parts, each a table of its own in `piece`. */
static weft_status read_rows(const weft_weight_list *weight, uint64_t matrix, uint64_t row,
                             uint64_t count, uint8_t *piece, weft_error *error) {
  for (uint32_t i = 0; i < weight->count; i++) {
    const weft_weight *part = &weight->parts[i];
    uint64_t row_bytes = part->n * weft_dtype_size(part->data->dtype);
    WEFT_TRY(weft_buffer_read(part->data->data, (matrix * part->k + row) * row_bytes,
                              count * row_bytes, piece, error));
    piece += count * row_bytes;
  }
  return WEFT_OK;
}

/* Row `row` of a part, whose first column is number `column`, into words [panel][words][COLUMNS].
 */
static void put_row(const packing *job, const uint8_t *from, uint64_t n, uint64_t column,
                    uint64_t row, uint64_t words) {
  uint32_t per_word = weft_gpu_per_word(&job->format);
  uint32_t *to = job->words + row / per_word * COLUMNS;
  for (uint64_t j = 0, count; j < n; j += count) { /* as much as a panel has of it */
    uint64_t at = (column + j) % COLUMNS;
    count = weft_min_u64(COLUMNS - at, n - j);
    uint32_t *line = to + (column + j) / COLUMNS * words * COLUMNS + at;
    if (per_word == 1) {
      memcpy(line, from + j * sizeof *line, (size_t)count * sizeof *line);
      continue;
    }
    uint8_t *half = (uint8_t *)line + row % 2 * sizeof(uint16_t);
    for (uint64_t i = 0; i < count; i++)
      memcpy(half + i * sizeof *line, from + (j + i) * sizeof(uint16_t), sizeof(uint16_t));
  }
}

/* Rows [row, row + count) of a matrix. */
static weft_status pack_rows(packing *job, const weft_weight_list *weight, uint64_t matrix,
                             uint64_t row, uint64_t count, uint8_t *piece) {
  uint32_t per_word = weft_gpu_per_word(&job->format);
  uint64_t words = divide_up(count, per_word), column = 0;
  const weft_gpu_places *at = &job->places;
  WEFT_TRY(read_rows(weight, matrix, row, count, piece, job->error));
  memset(job->words, 0, (size_t)(at->panels * words * COLUMNS * sizeof(uint32_t)));
  for (uint32_t i = 0; i < weight->count; column += weight->parts[i++].n) {
    uint64_t n = weight->parts[i].n, row_bytes = n * sizeof(uint32_t) / per_word;
    for (uint64_t r = 0; r < count; r++, piece += row_bytes)
      put_row(job, piece, n, column, r, words);
  }
  /* All of k: the panels follow each other. */
  uint64_t together = words == at->words ? at->panels : 1;
  for (uint64_t p = 0; p < at->panels; p += together)
    WEFT_TRY(write(
        job, matrix * at->matrix + (p * at->words + row / per_word) * COLUMNS * sizeof(uint32_t),
        job->words + p * words * COLUMNS, together * words * COLUMNS * sizeof(uint32_t)));
  return WEFT_OK;
}

static weft_status pack_floats(packing *job, const weft_weight_list *weight, uint64_t matrices) {
  uint64_t row_bytes = job->places.panels * COLUMNS * 4;
  uint64_t step = weft_align_up(1 + PIECE_BYTES / row_bytes, 2);
  if (step > job->k) step = weft_align_up(job->k, 2);
  WEFT_TRY(allocate(job, 2 * step * row_bytes));
  job->words = (uint32_t *)(void *)job->scratch;
  for (uint64_t i = 0; i < matrices; i++)
    for (uint64_t row = 0; row < job->k; row += step) {
      uint64_t count = job->k - row < step ? job->k - row : step;
      WEFT_TRY(pack_rows(job, weight, i, row, count, job->scratch + step * row_bytes));
    }
  return WEFT_OK;
}

/* ---- which weights --------------------------------------------------------------------------- */

/* Padding a narrow matrix to whole panels would cost more than it saves. */
#define LEAST_COLUMNS 16

/* Floats as they lie, perhaps several matrices. */
static bool find_dense(const weft_graph *graph, weft_value_id id, weft_weight_list *list,
                       uint64_t *matrices) {
  const weft_value *value = &graph->values[id];
  const weft_shape *shape = &value->shape;
  bool known = value->kind == WEFT_VALUE_CONSTANT && value->layout == WEFT_LAYOUT_DENSE &&
               value->data && weft_shape_is_fixed(shape) && shape->rank >= 2;
  if (!known || (value->dtype != WEFT_F32 && value->dtype != WEFT_F16)) return false;
  const weft_dim *last = &shape->dims[shape->rank - 2];
  if (last[0] == 0 || last[1] < LEAST_COLUMNS) return false;
  *list = (weft_weight_list){.count = 1, .k = (uint64_t)last[0], .n = (uint64_t)last[1]};
  list->parts[0] = (weft_weight){.data = value, .k = list->k, .n = list->n};
  *matrices = 1;
  for (int32_t i = 0; i < shape->rank - 2; i++) *matrices *= (uint64_t)shape->dims[i];
  return *matrices > 0;
}

static bool find_weight(const weft_graph *graph, const weft_node *node, weft_weight_list *list,
                        uint64_t *matrices) {
  *matrices = 1;
  return weft_weight_find(graph, node->inputs[1], list) ||
         find_dense(graph, node->inputs[1], list, matrices);
}

/* What is known before the zeros have been looked at. */
static weft_gpu_format describe(const weft_weight_list *weight) {
  const weft_weight *part = &weight->parts[0];
  weft_gpu_format format = {.block = (uint32_t)part->block};
  if (part->dequantize)
    format.bits = part->dequantize->attributes.dequantize.bits;
  else
    format.bits = 8 * (uint32_t)weft_dtype_size(part->data->dtype);
  format.bfloat = part->data->dtype == WEFT_BF16;
  return format;
}

bool weft_gpu_packs(const weft_graph *graph, const weft_node *node, uint64_t *bytes) {
  const weft_value *value = &graph->values[node->inputs[1]];
  weft_weight_list list;
  uint64_t matrices;
  *bytes = 0;
  if (value->layout >= WEFT_LAYOUT_GPU) return true;
  if (!find_weight(graph, node, &list, &matrices)) return false;
  weft_gpu_format format = describe(&list);
  for (uint32_t i = 0; i < list.count; i++) {
    const weft_node *part = list.parts[i].dequantize;
    if (part && part->input_count > WEFT_FIELD_ZEROS) format.float_zeros = true;
  }
  *bytes = weft_gpu_places_of(&format, matrices, list.k, list.n).bytes;
  return true;
}

/* ---- all ------------------------------------------------------------------------------------- */

static void close_weight(void *user, weft_memory memory) {
  const weft_device *device = user;
  device->memory_close(device, memory);
}

static weft_status pack(packing *job, const weft_device *device, const weft_weight_list *weight,
                        uint64_t matrices, weft_buffer **out) {
  job->places = weft_gpu_places_of(&job->format, matrices, weight->k, weight->n);
  WEFT_TRY(device->memory_open(device, job->places.bytes, &job->memory, job->error));
  weft_status status =
      weight->parts[0].dequantize ? pack_codes(job, weight) : pack_floats(job, weight, matrices);
  release(job);
  if (status == WEFT_OK) {
    *out = weft_buffer_on_device(job->columns.heap, job->places.bytes, job->memory, close_weight,
                                 (void *)(uintptr_t)device);
    if (*out) return WEFT_OK;
    status = weft_heap_fail(job->columns.heap, sizeof **out, "a packed weight", job->error);
  }
  device->memory_close(device, job->memory);
  return status;
}

/* Finds the weight and its format; false: it is not packed. */
static bool start(packing *job, const weft_device *device, const weft_graph *graph,
                  const weft_node *node, uint32_t input, weft_heap *heap, weft_weight_list *weight,
                  uint64_t *matrices, weft_error *error) {
  const weft_gpu_device *gpu = (const weft_gpu_device *)(const void *)device;
  if (node->op != WEFT_OP_MATMUL || input != 1 || !find_weight(graph, node, weight, matrices))
    return false;
  *job = (packing){.columns = {.graph = graph, .heap = heap},
                   .driver = gpu->gpu->driver,
                   .format = describe(weight),
                   .k = weight->k,
                   .error = error};
  job->places = weft_gpu_places_of(&job->format, *matrices, weight->k, weight->n);
  if (weight->parts[0].dequantize) job->status = choose_format(job, weight);
  return true;
}

weft_status weft_gpu_pack(const weft_device *device, const weft_graph *graph, const weft_node *node,
                          uint32_t input, weft_heap *heap, weft_buffer **out, weft_layout *layout,
                          weft_error *error) {
  packing job;
  weft_weight_list weight;
  uint64_t matrices;
  *out = NULL;
  if (!start(&job, device, graph, node, input, heap, &weight, &matrices, error)) return WEFT_OK;
  WEFT_TRY(job.status);
  *layout = weft_gpu_layout(&job.format);
  return pack(&job, device, &weight, matrices, out);
}

weft_status weft_gpu_layout_of(const weft_device *device, const weft_graph *graph,
                               const weft_node *node, uint32_t input, weft_heap *heap,
                               weft_layout *out, weft_error *error) {
  packing job;
  weft_weight_list weight;
  uint64_t matrices;
  *out = WEFT_LAYOUT_DENSE;
  if (!start(&job, device, graph, node, input, heap, &weight, &matrices, error)) return WEFT_OK;
  *out = weft_gpu_layout(&job.format);
  return job.status;
}
