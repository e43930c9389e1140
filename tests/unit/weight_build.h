/* weight_build.h - for tests of weights of few bits: a graph with a weight of random contents in
 * any form that a file may give it, and what it means. */
#ifndef WEFT_TESTS_WEIGHT_BUILD_H
#define WEFT_TESTS_WEIGHT_BUILD_H

#include "tests/unit/graph_build.h"

typedef enum form { SINGLE, VECTOR, BLOCKS } form;
typedef enum zeros_kind { NO_ZEROS, CODE_ZEROS, FLOAT_ZEROS, EQUAL_ZEROS } zeros_kind;

/* One part of a weight. */
typedef struct part {
  weft_dtype dtype; /* of codes; F16 and BF16: a weight of floats */
  uint32_t bits;
  bool transposed; /* the file has [n][k] */
  form form;
  zeros_kind zeros;
  weft_dtype scale_dtype;
  int64_t k, n, block;
  bool seven; /* codes of 8 bits from the middle half of their range, zeros in its middle */
} part;

/* How bytes are handed over. */
typedef enum handing { IN_MEMORY, AT_ODD_ADDRESS, BY_READER } handing;

#define BYTES_MAX 64

/* A graph with one matmul by the weight. */
typedef struct model {
  fixture f;
  uint64_t random;
  handing handing;
  uint8_t *bytes[BYTES_MAX]; /* of constants, given back at the end */
  uint32_t bytes_count;
  weft_value_id weight;
  int64_t k, n;
  double *dense; /* [n][k]: what the weight means */
} model;

static inline uint64_t below(model *m, uint64_t limit) {
  return (check_random(&m->random) >> 20) % limit;
}

static inline int64_t up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/* ---- numbers of 16 bits ---------------------------------------------------------------------- */

/* For multiples of 1/32 in [-2, 2], which either type holds. */
static inline uint16_t half_of(float value, weft_dtype dtype) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (dtype == WEFT_BF16) return (uint16_t)(bits >> 16);
  uint32_t exponent = (bits >> 23) & 255;
  if (exponent == 0) return (uint16_t)(bits >> 16);
  return (uint16_t)((bits >> 16 & 0x8000) | (exponent - 112) << 10 | (bits >> 13 & 0x3ff));
}

static inline float some_number(model *m) {
  return (float)((int64_t)below(m, 129) - 64) / 32;
}

static inline void put_number(uint8_t *to, uint64_t index, float value, weft_dtype dtype) {
  uint16_t half = half_of(value, dtype);
  if (dtype == WEFT_F32)
    memcpy(to + index * 4, &value, 4);
  else
    memcpy(to + index * 2, &half, 2);
}

/* ---- building -------------------------------------------------------------------------------- */

static inline weft_status read_bytes(void *user, uint64_t offset, size_t length,
                                     void *destination) {
  memcpy(destination, (const uint8_t *)user + offset, length);
  return WEFT_OK;
}

static inline weft_status read_nothing(void *user, uint64_t offset, size_t length,
                                       void *destination) {
  (void)user, (void)offset, (void)length, (void)destination;
  return WEFT_IO_ERROR;
}

/* Memory for a constant; it is filled before it is used. */
static inline uint8_t *new_bytes(model *m, uint64_t bytes) {
  uint8_t *memory = calloc(1, bytes + 1);
  if (CHECK(m->bytes_count < BYTES_MAX)) m->bytes[m->bytes_count++] = memory;
  return memory + (m->handing == AT_ODD_ADDRESS);
}

static inline weft_value_id constant(model *m, weft_dtype dtype, int32_t rank, const int64_t *dims,
                                     uint8_t *bytes) {
  weft_shape shape = {.rank = rank};
  uint64_t size = weft_dtype_size(dtype);
  for (int32_t i = 0; i < rank; i++) shape.dims[i] = dims[i], size *= (uint64_t)dims[i];
  weft_source source = {.size = size, .read = read_bytes, .user = bytes};
  weft_buffer *data = m->handing == BY_READER ? weft_buffer_defer(&m->f.heap, &source, 0, size)
                                              : weft_buffer_borrow(&m->f.heap, bytes, size);
  weft_value_id id = WEFT_VALUE_NONE;
  CHECK_OK(
      weft_graph_add_constant(&m->f.graph, WEFT_STR(""), dtype, &shape, data, &id, &m->f.error),
      &m->f.error);
  return id;
}

static inline weft_value_id finish(model *m, const weft_node *node) {
  weft_value_id output = node->outputs[0];
  weft_inference facts = weft_inference_at_load(&m->f.graph);
  CHECK_OK(weft_infer_node(&facts, (weft_node_id)(node - m->f.graph.nodes), &m->f.error),
           &m->f.error);
  return output;
}

/* Rows and columns of codes in the file. */
static inline void file_dims(const part *p, int64_t dims[2]) {
  dims[0] = p->transposed ? p->n : p->k;
  dims[1] = p->transposed ? p->k : p->n;
}

/* Rows and columns of scales or zeros; the rank. */
static inline int32_t parameter_dims(const part *p, int64_t dims[2]) {
  if (p->form == SINGLE) return 0;
  file_dims(p, dims);
  if (p->form == BLOCKS) {
    dims[p->transposed ? 1 : 0] = up(p->k, p->block);
    return 2;
  }
  dims[0] = p->n;
  return 1;
}

static inline uint64_t parameter_at(const part *p, int64_t k, int64_t n) {
  if (p->form == SINGLE) return 0;
  if (p->form == VECTOR) return (uint64_t)n;
  int64_t blocks = up(p->k, p->block);
  return (uint64_t)(p->transposed ? n * blocks + k / p->block : k / p->block * p->n + n);
}

/* Codes of a table with `last` of them in a row. */
static inline void put_code(uint8_t *table, uint64_t index, uint64_t last, uint32_t bits,
                            uint32_t code) {
  uint64_t row_bytes = (last * bits + 7) / 8, bit = index % last * bits;
  uint8_t *byte = table + index / last * row_bytes + bit / 8;
  *byte = (uint8_t)(*byte | code << (bit % 8));
}

/* A code; where they are of 7 bits, with both ends: -64 to 64 as quantisers write them, 0 to 127.
 */
static inline uint32_t some_code(model *m, const part *p) {
  if (!p->seven) return (uint32_t)below(m, 1u << p->bits);
  return p->dtype == WEFT_U8 ? (uint32_t)below(m, 128) : (uint8_t)(below(m, 129) - 64);
}

static inline uint32_t some_zero(model *m, const part *p) {
  if (!p->seven) return (uint32_t)below(m, 1u << p->bits);
  return p->dtype == WEFT_U8 ? 63 + (uint32_t)below(m, 2) : 0;
}

static inline double code_number(const part *p, uint32_t code) {
  return p->dtype == WEFT_I8 ? (double)(int8_t)code : (double)code;
}

typedef struct tables {
  uint32_t *codes; /* in the file's order */
  float *scales, *zeros;
  uint64_t parameters;
} tables;

/* What the part means, in columns [column, column + n) of the weight. */
static inline void fill_dense(model *m, const part *p, const tables *t, int64_t column) {
  for (int64_t k = 0; k < p->k; k++)
    for (int64_t n = 0; n < p->n; n++) {
      uint64_t at = parameter_at(p, k, n),
               i = (uint64_t)(p->transposed ? n * p->k + k : k * p->n + n);
      m->dense[(column + n) * m->k + k] =
          (code_number(p, t->codes[i]) - (double)t->zeros[at]) * (double)t->scales[at];
    }
}

static inline weft_value_id add_zeros(model *m, const part *p, tables *t, int32_t rank,
                                      const int64_t *dims) {
  uint64_t last = rank > 0 ? (uint64_t)dims[rank - 1] : 1;
  int64_t packed[2] = {rank > 0 ? dims[0] : 1, rank > 1 ? dims[1] : 1};
  uint32_t equal = some_zero(m, p);
  bool floats = p->zeros == FLOAT_ZEROS;
  uint8_t *bytes = new_bytes(m, t->parameters * 4);
  for (uint64_t i = 0; i < t->parameters; i++) {
    uint32_t code = p->zeros == EQUAL_ZEROS ? equal : some_zero(m, p);
    t->zeros[i] = floats ? some_number(m) : (float)code_number(p, code);
    if (floats)
      put_number(bytes, i, t->zeros[i], p->scale_dtype);
    else
      put_code(bytes, i, last, p->bits, code);
  }
  if (rank > 0 && !floats) packed[rank - 1] = up((int64_t)last * p->bits, 8);
  return constant(m, floats ? p->scale_dtype : p->dtype, rank, packed, bytes);
}

static inline weft_value_id add_codes(model *m, const part *p, const tables *t) {
  int64_t dims[2];
  file_dims(p, dims);
  uint8_t *bytes = new_bytes(m, (uint64_t)(dims[0] * dims[1]));
  for (uint64_t i = 0; i < (uint64_t)(dims[0] * dims[1]); i++) {
    t->codes[i] = some_code(m, p);
    put_code(bytes, i, (uint64_t)dims[1], p->bits, t->codes[i]);
  }
  dims[1] = up(dims[1] * p->bits, 8);
  return constant(m, p->dtype, 2, dims, bytes);
}

static inline weft_value_id transpose(model *m, weft_value_id value) {
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {.count = 2, .axes = {1, 0}}}};
  return finish(m, add_node(&m->f, 0, WEFT_OP_VIEW, &value, 1, &attributes));
}

static inline weft_value_id add_quantized(model *m, const part *p, int64_t column) {
  int64_t dims[2] = {1, 1}, file[2];
  int32_t rank = parameter_dims(p, dims);
  file_dims(p, file);
  uint64_t parameters = (uint64_t)((rank > 0 ? dims[0] : 1) * (rank > 1 ? dims[1] : 1));
  int32_t zero = (int32_t)some_zero(m, p);
  tables t = {.codes = malloc((size_t)(p->k * p->n) * sizeof(uint32_t)),
              .scales = malloc(parameters * sizeof(float)),
              .zeros = malloc(parameters * sizeof(float)),
              .parameters = parameters};
  weft_value_id inputs[3] = {add_codes(m, p, &t)};
  uint8_t *scales = new_bytes(m, parameters * 4);
  for (uint64_t i = 0; i < parameters; i++) {
    t.scales[i] = some_number(m), t.zeros[i] = (float)zero;
    put_number(scales, i, t.scales[i], p->scale_dtype);
  }
  inputs[1] = constant(m, p->scale_dtype, rank, dims, scales);
  if (p->zeros != NO_ZEROS) inputs[2] = add_zeros(m, p, &t, rank, dims);
  int32_t axis = p->form == BLOCKS ? p->transposed : !p->transposed;
  weft_attributes attributes = {.dequantize = {.dtype = WEFT_F32,
                                               .bits = p->bits,
                                               .axis = axis,
                                               .zero = zero,
                                               .block = p->form == BLOCKS ? p->block : 0,
                                               .extent = file[1]}};
  weft_value_id y = finish(
      m, add_node(&m->f, 0, WEFT_OP_DEQUANTIZE, inputs, p->zeros == NO_ZEROS ? 2 : 3, &attributes));
  fill_dense(m, p, &t, column);
  free(t.codes);
  free(t.scales);
  free(t.zeros);
  return p->transposed ? transpose(m, y) : y;
}

static inline weft_value_id add_floats(model *m, const part *p, int64_t column) {
  uint8_t *bytes = new_bytes(m, (uint64_t)(p->k * p->n) * 2);
  for (int64_t i = 0; i < p->k * p->n; i++) {
    float value = some_number(m);
    put_number(bytes, (uint64_t)i, value, p->dtype);
    m->dense[(column + i % p->n) * m->k + i / p->n] = (double)value;
  }
  return constant(m, p->dtype, 2, (int64_t[]){p->k, p->n}, bytes);
}

static inline void model_open(model *m, const part *parts, uint32_t count, handing how,
                              uint64_t seed) {
  memset(m, 0, sizeof *m);
  m->random = seed * 977 + 1;
  m->handing = how;
  fixture_open(&m->f);
  m->k = parts[0].k;
  for (uint32_t i = 0; i < count; i++) m->n += parts[i].n;
  m->dense = malloc((size_t)(m->k * m->n) * sizeof *m->dense);
  weft_value_id ids[16];
  int64_t column = 0;
  for (uint32_t i = 0; i < count; i++) {
    bool floats = weft_dtype_is_float(parts[i].dtype);
    ids[i] = floats ? add_floats(m, &parts[i], column) : add_quantized(m, &parts[i], column);
    column += parts[i].n;
  }
  weft_attributes attributes = {.axis = {1}};
  m->weight =
      count == 1 ? ids[0] : finish(m, add_node(&m->f, 0, WEFT_OP_CONCAT, ids, count, &attributes));
}

static inline void model_close(model *m) {
  fixture_close(&m->f);
  for (uint32_t i = 0; i < m->bytes_count; i++) free(m->bytes[i]);
  free(m->dense);
}

#endif
