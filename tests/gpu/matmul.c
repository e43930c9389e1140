/* Matrix products on the GPU against the CPU's reference: every variant of the kernels, on shapes
 * that are no multiples of anything; computed right sides however they lie, batches, expressions
 * with further inputs; constant ones in every form that a file may give them.
 *
 *   test_gpu_matmul ADAPTER TEST              one of the tests
 *   test_gpu_matmul ADAPTER --bench [M N K]   times every variant */
#include "gpu/matmul.h"
#include "gpu/tuner_table.h"
#include "tests/gpu/gpu_variant.h"
#include "tests/unit/weight_build.h"

#define DIMS(...)                                                                                  \
  (int64_t[]) {                                                                                    \
    __VA_ARGS__                                                                                    \
  }

/* ---- every variant --------------------------------------------------------------------------- */

/* Inputs for the reference, and those for the GPU, which differ in B where it is packed. */
typedef struct product {
  const weft_attributes *attributes;
  const weft_array *inputs[2 + WEFT_EXPR_INPUTS_MAX], *packed;
  uint32_t count;
  weft_array *y;
  double magnitude; /* of |b| */
  bool rounded;     /* rows to 8 bits */
  bool exact;       /* nothing is rounded to f16 on the way */
} product;

/* Sums of k products of up to 2 |b|; f16 in workgroup memory rounds those. A GPU's division may
 * make some code another one. */
static gpu_tolerance tolerance_of(const product *p, bool f16) {
  const weft_array *a = p->inputs[0];
  double k = (double)a->dims[a->rank - 1];
  double absolute = (f16 ? 1e-3 : 4e-7) * 2 * p->magnitude * (k + 8);
  return (gpu_tolerance){absolute + (p->rounded ? 2 * p->magnitude * 2 / 127 : 0), 1e-5};
}

static bool run_one(gpu_bench *g, const product *p, bool f16) {
  unsigned before = check_failures;
  weft_node node = {.op = WEFT_OP_MATMUL, .name = WEFT_STR("tested"), .attributes = *p->attributes};
  const weft_array *inputs[2 + WEFT_EXPR_INPUTS_MAX], *outputs[] = {p->y};
  memcpy(inputs, p->inputs, sizeof inputs);
  if (p->packed) inputs[1] = p->packed;
  CHECK_OK(gpu_run_step(g, &node, inputs, p->count, outputs, 1, tolerance_of(p, f16)),
           &g->cpu.error);
  return check_failures == before;
}

/* With the guess, and where `all` with every other variant. */
static void check_variants(gpu_bench *g, const product *p, bool all) {
  weft_node node = {.op = WEFT_OP_MATMUL, .name = WEFT_STR("tested"), .attributes = *p->attributes};
  const weft_array *outputs[] = {p->y};
  if (!CHECK_OK(gpu_expect(g, &node, p->inputs, p->count, outputs, 1), &g->cpu.error)) return;
  weft_tuner *tuner = g->gpu->tuner;
  bool f16 = p->inputs[0]->dtype == WEFT_F16 && !p->exact;
  tuner->asked = WEFT_TUNE_NONE;
  run_one(g, p, f16);
  if (tuner->asked == WEFT_TUNE_NONE) return;
  weft_tune_entry *entry = &tuner->entries[tuner->asked];
  uint32_t count = all ? entry->candidates : 0;
  for (uint32_t i = 1; i < count; i++) {
    entry->choice = i;
    if (!run_one(g, p, f16)) check_print("  variant %u\n", i);
  }
  tuner->entries[tuner->asked].choice = 0;
}

/* ---- computed right sides -------------------------------------------------------------------- */

static const weft_attributes plain = {0};

static product computed(gpu_bench *g, weft_dtype dtype, int32_t rank, const int64_t *a,
                        const int64_t *b, const int64_t *y, bench_strides form) {
  product p = {.attributes = &plain, .count = 2, .magnitude = 2};
  p.inputs[0] = bench_random(&g->cpu, dtype, rank, a, form);
  p.inputs[1] = bench_random(&g->cpu, dtype, rank, b, form);
  p.y = bench_array(&g->cpu, dtype, rank, y, BENCH_DENSE);
  return p;
}

static void test_shapes(gpu_bench *g) {
  static const int64_t extents[] = {1, 3, 17, 64, 65, 129};
  for (uint32_t round = 0; round < 36; round++) {
    int64_t m = extents[round % 6], n = extents[round / 6], k = extents[bench_below(&g->cpu, 6)];
    product p = computed(g, WEFT_F32, 2, DIMS(m, k), DIMS(k, n), DIMS(m, n),
                         round % 2 ? BENCH_DENSE : BENCH_RANDOM);
    check_variants(g, &p, false);
    bench_clear(&g->cpu);
  }
}

static void test_variants(gpu_bench *g) {
  static const int64_t shapes[][3] = {{33, 45, 70}, {65, 132, 100}};
  for (uint32_t half = 0; half < 2; half++) {
    const int64_t *s = shapes[half];
    product p = computed(g, half ? WEFT_F16 : WEFT_F32, 2, DIMS(s[0], s[2]), DIMS(s[2], s[1]),
                         DIMS(s[0], s[1]), BENCH_DENSE);
    check_variants(g, &p, true);
    bench_clear(&g->cpu);
  }
}

/* B is a view of [n][k]. */
static void test_transposed(gpu_bench *g) {
  static const int64_t shapes[][3] = {{7, 9, 5}, {64, 64, 32}, {33, 130, 68}};
  for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const int64_t *s = shapes[i];
    product p = computed(g, WEFT_F32, 3, DIMS(2, s[0], s[2]), DIMS(2, s[1], s[2]),
                         DIMS(2, s[0], s[1]), BENCH_DENSE);
    weft_array *b = (weft_array *)(uintptr_t)p.inputs[1];
    b->dims[1] = s[2], b->dims[2] = s[1];
    b->strides[1] = 1, b->strides[2] = s[2];
    check_variants(g, &p, false);
    bench_clear(&g->cpu);
  }
}

static void test_batches(gpu_bench *g) {
  static const struct {
    int32_t a_rank, b_rank, y_rank;
    int64_t a[5], b[5], y[5];
  } cases[] = {
      {3, 2, 3, {4, 5, 12}, {12, 8}, {4, 5, 8}},
      {4, 4, 4, {2, 3, 5, 6}, {2, 3, 6, 7}, {2, 3, 5, 7}},
      {4, 4, 4, {2, 1, 5, 6}, {1, 3, 6, 7}, {2, 3, 5, 7}},
      {4, 3, 4, {2, 3, 17, 8}, {1, 8, 4}, {2, 3, 17, 4}},
      {5, 4, 5, {2, 1, 3, 1, 8}, {4, 1, 8, 12}, {2, 4, 3, 1, 12}},
      {1, 2, 1, {9}, {9, 5}, {5}},
      {1, 3, 2, {9}, {3, 9, 5}, {3, 5}},
      {3, 1, 2, {3, 4, 9}, {9}, {3, 4}},
      {1, 1, 0, {9}, {9}, {0}},
  };
  for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (uint32_t form = 0; form < 3; form++) {
      product p = {.attributes = &plain, .count = 2, .magnitude = 2};
      bench_strides strides = (bench_strides)form;
      p.inputs[0] = bench_random(&g->cpu, WEFT_F32, cases[i].a_rank, cases[i].a, strides);
      p.inputs[1] = bench_random(&g->cpu, WEFT_F32, cases[i].b_rank, cases[i].b, strides);
      p.y = bench_array(&g->cpu, WEFT_F32, cases[i].y_rank, cases[i].y, BENCH_DENSE);
      check_variants(g, &p, false);
      bench_clear(&g->cpu);
    }
}

/* ---- expressions ----------------------------------------------------------------------------- */

/* relu(product + x1) * x2 + x3 (+ x1), in the type of y at last */
static weft_instruction code[6];
static weft_attributes expression = {.matmul.expr = {.input_count = 4, .code = code}};

/* Kernels write the results of long expressions in another way. */
static void set_code(weft_dtype dtype, weft_dtype result, bool is_long) {
  static const weft_instruction all[] = {
      {.op = WEFT_EXPR_ADD, .operands = {0, 1}}, {.op = WEFT_EXPR_RELU, .operands = {4}},
      {.op = WEFT_EXPR_MUL, .operands = {5, 2}}, {.op = WEFT_EXPR_ADD, .operands = {6, 3}},
      {.op = WEFT_EXPR_ADD, .operands = {7, 1}},
  };
  uint8_t count = is_long ? 5 : 4;
  for (uint8_t i = 0; i < count; i++) code[i] = all[i], code[i].dtype = (uint8_t)dtype;
  for (int i = 0; i < 4; i++) expression.matmul.expr.input_dtypes[i] = (uint8_t)dtype;
  if (result != dtype) {
    code[count] = (weft_instruction){
        .op = WEFT_EXPR_CAST, .dtype = (uint8_t)result, .operands = {(uint8_t)(3 + count)}};
    count++;
  }
  expression.matmul.expr.code_count = count;
}

static void add_extras(gpu_bench *g, product *p, int64_t batch, int64_t m, int64_t n) {
  weft_dtype dtype = p->inputs[0]->dtype;
  set_code(dtype, p->y->dtype, bench_below(&g->cpu, 2));
  p->attributes = &expression;
  p->inputs[2] = bench_random(&g->cpu, dtype, 1, &n, BENCH_RANDOM);
  p->inputs[3] = bench_random(&g->cpu, dtype, 3, DIMS(batch, 1, 1), BENCH_DENSE);
  p->inputs[4] = bench_random(&g->cpu, dtype, 3, DIMS(batch, m, n), BENCH_RANDOM);
  p->count = 5;
}

static void test_expressions(gpu_bench *g) {
  static const weft_dtype dtypes[][2] = {
      {WEFT_F32, WEFT_F32}, {WEFT_F16, WEFT_F16}, {WEFT_F16, WEFT_F32}, {WEFT_F32, WEFT_F16}};
  for (uint32_t round = 0; round < 12; round++) {
    weft_dtype dtype = dtypes[round % 4][0], result = dtypes[round % 4][1];
    int64_t batch = 1 + (int64_t)bench_below(&g->cpu, 3), m = 1 + (int64_t)bench_below(&g->cpu, 40);
    int64_t n = 1 + (int64_t)bench_below(&g->cpu, 70), k = 1 + (int64_t)bench_below(&g->cpu, 30);
    product p = {.magnitude = 4, .exact = true};
    p.inputs[0] = bench_random(&g->cpu, dtype, 3, DIMS(batch, m, k), BENCH_DENSE);
    p.inputs[1] = bench_random(&g->cpu, dtype, 2, DIMS(k, n), BENCH_DENSE);
    p.y = bench_array(&g->cpu, result, 3, DIMS(batch, m, n), BENCH_DENSE);
    add_extras(g, &p, batch, m, n);
    check_variants(g, &p, false);
    bench_clear(&g->cpu);
  }
}

/* Without a row of k, there is the expression of zero. */
static void test_no_k(gpu_bench *g) {
  product p = computed(g, WEFT_F32, 3, DIMS(2, 5, 0), DIMS(2, 0, 7), DIMS(2, 5, 7), BENCH_DENSE);
  p.inputs[1] = bench_random(&g->cpu, WEFT_F32, 2, DIMS(0, 7), BENCH_DENSE);
  add_extras(g, &p, 2, 5, 7);
  check_variants(g, &p, false);
}

/* ---- packed right sides ---------------------------------------------------------------------- */

/* The weight's array, packed by the device; NULL: it stays as it is. */
static weft_array *pack_weight(gpu_bench *g, model *m, weft_buffer **out) {
  weft_value_id ids[2] = {m->weight, m->weight};
  weft_node node = {
      .op = WEFT_OP_MATMUL, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  weft_layout layout = WEFT_LAYOUT_DENSE;
  weft_status status =
      weft_gpu_pack(g->device, &m->f.graph, &node, 1, &g->cpu.heap, out, &layout, &g->cpu.error);
  if (!CHECK_OK(status, &g->cpu.error) || !CHECK(*out != NULL)) return NULL;
  CHECK(layout >= WEFT_LAYOUT_GPU);
  weft_array *array = &g->cpu.arrays[g->cpu.count++];
  *array = (weft_array){.dtype = WEFT_F32,
                        .rank = 2,
                        .dims = {m->k, m->n},
                        .strides = {m->n, 1},
                        .elements = (uint64_t)(m->k * m->n),
                        .layout = layout,
                        .on_device = true,
                        .memory = (*out)->memory};
  return array;
}

/* As the CPU reads it: the reference rounds rows too then. */
static weft_array *pack_for_host(gpu_bench *g, model *m, weft_buffer **out) {
  weft_value_id ids[2] = {m->weight, m->weight};
  weft_node node = {
      .op = WEFT_OP_MATMUL, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  weft_layout layout = WEFT_LAYOUT_DENSE;
  const weft_device *host = g->cpu.device;
  if (!CHECK_OK(host->pack(host, &m->f.graph, &node, 1, &g->cpu.heap, out, &layout, &g->cpu.error),
                &g->cpu.error))
    return NULL;
  weft_array *array = bench_array(&g->cpu, WEFT_F32, 2, DIMS(m->k, m->n), BENCH_DENSE);
  array->constant = (*out)->data;
  array->layout = layout;
  return array;
}

static const weft_attributes rounds = {.matmul.int8_rows = true};

static void check_weight(gpu_bench *g, const part *parts, uint32_t count, int64_t rows,
                         weft_dtype dtype, bool all, bool rounded) {
  model m;
  weft_buffer *packed = NULL, *host = NULL;
  model_open(&m, parts, count, (handing)bench_below(&g->cpu, 3), bench_below(&g->cpu, 1000));
  product p = {.attributes = rounded ? &rounds : &plain, .count = 2, .rounded = rounded};
  p.exact = ((weft_gpu_device *)g->device)->activations == WEFT_ACTIVATIONS_F32;
  weft_array *b = bench_array(&g->cpu, WEFT_F32, 2, DIMS(m.k, m.n), BENCH_DENSE);
  for (uint64_t i = 0; i < b->elements; i++) {
    double w = m.dense[i % (uint64_t)m.n * (uint64_t)m.k + i / (uint64_t)m.n];
    bench_set_f32(&g->cpu, b, i, (float)w);
    if (w > p.magnitude || -w > p.magnitude) p.magnitude = w < 0 ? -w : w;
  }
  p.inputs[0] = bench_random(&g->cpu, dtype, 2, DIMS(rows, m.k), BENCH_ROWS);
  p.inputs[1] = b;
  p.y = bench_array(&g->cpu, dtype, 2, DIMS(rows, m.n), BENCH_DENSE);
  p.packed = pack_weight(g, &m, &packed);
  if (rounded) p.inputs[1] = pack_for_host(g, &m, &host);
  if (p.packed && p.inputs[1]) check_variants(g, &p, all);
  weft_buffer_release(&packed);
  weft_buffer_release(&host);
  model_close(&m);
  bench_clear(&g->cpu);
}

static const int64_t some_rows[] = {1, 2, 3, 4, 5, 33};

/* Each number of bits with each length of block, in each form. */
static void test_codes(gpu_bench *g) {
  static const int64_t blocks[] = {16, 32, 64, 128, 48};
  for (uint32_t round = 0; round < 24; round++) {
    part p = {.dtype = WEFT_U8,
              .bits = 2u << (round % 3),
              .transposed = round % 2 == 0,
              .form = (form)(round / 2 % 3),
              .zeros = (zeros_kind)bench_below(&g->cpu, 4),
              .scale_dtype = bench_below(&g->cpu, 2) ? WEFT_F32 : WEFT_F16,
              .k = 1 + (int64_t)bench_below(&g->cpu, 300),
              .n = 1 + (int64_t)bench_below(&g->cpu, 90),
              .block = blocks[round % 5]};
    if (p.bits == 8 && bench_below(&g->cpu, 2)) p.dtype = WEFT_I8;
    if (round % 4 == 0) p.k = (p.k + 63) / 64 * 64;
    check_weight(g, &p, 1, some_rows[round % 6], WEFT_F32, false, false);
  }
}

static void test_code_variants(gpu_bench *g) {
  static const struct {
    uint32_t bits;
    int64_t rows;
  } cases[] = {{4, 1}, {4, 33}, {8, 3}, {2, 5}};
  for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    part p = {.dtype = WEFT_U8,
              .bits = cases[i].bits,
              .transposed = true,
              .form = BLOCKS,
              .zeros = i % 2 ? CODE_ZEROS : NO_ZEROS,
              .scale_dtype = WEFT_F32,
              .k = 288,
              .n = 140,
              .block = 32};
    check_weight(g, &p, 1, cases[i].rows, WEFT_F32, i < 2, false);
  }
}

/* Rows rounded to 8 bits, where the GPU multiplies those; else the reference does not round. */
static void test_rounded(gpu_bench *g) {
  static const int64_t blocks[] = {16, 32, 64, 128, 48};
  if (!g->gpu->facts->dot8) return;
  ((weft_gpu_device *)g->device)->activations =
      WEFT_ACTIVATIONS_INT8; /* also where AUTO does not */
  for (uint32_t round = 0; round < 12; round++) {
    part p = {.dtype = round % 6 == 2 ? WEFT_I8 : WEFT_U8,
              .bits = 2u << (round % 3),
              .transposed = true,
              .form = round % 4 == 0 ? VECTOR : BLOCKS,
              .zeros = (zeros_kind)bench_below(&g->cpu, 4),
              .scale_dtype = bench_below(&g->cpu, 2) ? WEFT_F32 : WEFT_F16,
              .k = 1 + (int64_t)bench_below(&g->cpu, 300),
              .n = 1 + (int64_t)bench_below(&g->cpu, 90),
              .block = blocks[round % 5]};
    check_weight(g, &p, 1, some_rows[round % 6], round % 7 ? WEFT_F32 : WEFT_F16, round == 10,
                 true);
  }
  ((weft_gpu_device *)g->device)->activations = WEFT_ACTIVATIONS_AUTO;
}

/* Where nothing may be rounded, tiles of f16 hold no numbers of codes. */
static void test_unrounded(gpu_bench *g) {
  ((weft_gpu_device *)g->device)->activations = WEFT_ACTIVATIONS_F32;
  part p = {.dtype = WEFT_U8,
            .bits = 8,
            .transposed = true,
            .form = BLOCKS,
            .scale_dtype = WEFT_F16,
            .k = 96,
            .n = 140,
            .block = 32};
  check_weight(g, &p, 1, 33, WEFT_F16, false, false);
  ((weft_gpu_device *)g->device)->activations = WEFT_ACTIVATIONS_AUTO;
}

static void test_float_weights(gpu_bench *g) {
  for (uint32_t round = 0; round < 12; round++) {
    part p = {.dtype = round % 3 == 0 ? WEFT_BF16 : WEFT_F16,
              .k = 1 + (int64_t)bench_below(&g->cpu, 200),
              .n = 16 + (int64_t)bench_below(&g->cpu, 90)};
    if (round % 2) p.k = p.k / 8 * 8 + 8;
    check_weight(g, &p, 1, some_rows[round % 6], round % 4 == 3 ? WEFT_F16 : WEFT_F32, false,
                 false);
  }
}

/* Several parts side by side, which end within panels. */
static void test_parts(gpu_bench *g) {
  for (uint32_t round = 0; round < 6; round++) {
    part p[3];
    for (uint32_t i = 0; i < 3; i++)
      p[i] = (part){.dtype = WEFT_U8,
                    .bits = 4,
                    .transposed = i != 1,
                    .form = BLOCKS,
                    .zeros = (zeros_kind)bench_below(&g->cpu, 4),
                    .scale_dtype = bench_below(&g->cpu, 2) ? WEFT_F32 : WEFT_F16,
                    .k = 96,
                    .n = 1 + (int64_t)bench_below(&g->cpu, 60),
                    .block = 32};
    for (uint32_t i = 0; i < 3 && round % 3 == 2; i++)
      p[i] = (part){.dtype = WEFT_F16, .k = 50, .n = p[i].n};
    check_weight(g, p, 3, some_rows[round], WEFT_F32, false, false);
  }
}

/* f32, and several matrices. */
static void test_dense_weights(gpu_bench *g) {
  for (uint32_t round = 0; round < 12; round++) {
    model m;
    weft_buffer *packed = NULL;
    memset(&m, 0, sizeof m);
    m.random = round + 5;
    m.handing = (handing)(round % 3);
    fixture_open(&m.f);
    int64_t batch = 1 + round / 6, k = 1 + (int64_t)bench_below(&g->cpu, 120), n = 16 + 7 * round;
    int64_t rows = some_rows[round % 6];
    bool half = round % 4 == 3;
    weft_dtype dtype = half ? WEFT_F16 : WEFT_F32;
    product p = {.attributes = &plain, .count = 2, .magnitude = 2};
    weft_array *b = bench_array(&g->cpu, WEFT_F32, 3, DIMS(batch, k, n), BENCH_DENSE);
    uint8_t *bytes = new_bytes(&m, b->elements * 4);
    for (uint64_t i = 0; i < b->elements; i++) {
      float value = some_number(&m);
      bench_set_f32(&g->cpu, b, i, value);
      put_number(bytes, i, value, dtype);
    }
    m.weight = constant(&m, dtype, 3, b->dims, bytes);
    m.k = k, m.n = n;
    p.inputs[0] = bench_random(&g->cpu, WEFT_F32, 3, DIMS(batch, rows, k), BENCH_DENSE);
    p.inputs[1] = b;
    p.y = bench_array(&g->cpu, WEFT_F32, 3, DIMS(batch, rows, n), BENCH_DENSE);
    weft_array *array = pack_weight(g, &m, &packed);
    if (array) {
      memcpy(array->dims, b->dims, sizeof array->dims);
      array->rank = 3;
      p.packed = array;
      check_variants(g, &p, false);
    }
    weft_buffer_release(&packed);
    fixture_close(&m.f);
    for (uint32_t i = 0; i < m.bytes_count; i++) free(m.bytes[i]);
    bench_clear(&g->cpu);
  }
}

/* ---- what is tried first --------------------------------------------------------------------- */

static bool is_all(const weft_matmul_variant *variants, uint32_t count, bool swizzle) {
  bool all = count > 0;
  for (uint32_t i = 0; i < count; i++) all &= variants[i].swizzle == swizzle;
  return all;
}

/* Comparisons ask for one of the layouts of workgroup memory, or for none of it. */
static void test_layouts(gpu_bench *g) {
  static const weft_matmul_shape shapes[] = {
      {.m = 512, .n = 512, .k = 512, .batches = 1, .bits = 32},
      {.m = 64, .n = 64, .k = 64, .batches = 8, .f16 = true},
      {.m = 256, .n = 512, .k = 512, .batches = 1, .bits = 8, .block = 32, .rounded = true},
  };
  weft_matmul_variant variants[WEFT_MATMUL_VARIANTS_MAX];
  for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    weft_gpu_facts facts = *g->gpu->facts;
    facts.matrix_count = 0;
    facts.no_linear = true;
    CHECK(is_all(variants, weft_matmul_variants(&facts, &shapes[i], variants), true));
    facts.no_swizzle = true;
    CHECK(is_all(variants, weft_matmul_variants(&facts, &shapes[i], variants), false));
    facts.no_linear = false;
    facts.no_tiles = true;
    (void)weft_matmul_variants(&facts, &shapes[i], variants);
    bool lanes = facts.subgroups && weft_gpu_lanes(&facts) && !shapes[i].rounded;
    CHECK_INT(variants[0].kind, lanes ? WEFT_MATMUL_LANES : WEFT_MATMUL_TILES);
  }
}

/* ---- failures -------------------------------------------------------------------------------- */

static weft_status try_to_pack(gpu_bench *g, model *m, weft_buffer **out) {
  weft_value_id ids[2] = {m->weight, m->weight};
  weft_node node = {
      .op = WEFT_OP_MATMUL, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  weft_layout layout;
  return weft_gpu_pack(g->device, &m->f.graph, &node, 1, &g->cpu.heap, out, &layout, &g->cpu.error);
}

/* A reader that fails, and too little memory: an error, and nothing is left behind. */
static void test_packing_fails(gpu_bench *g) {
  static const part parts[] = {{.dtype = WEFT_U8,
                                .bits = 4,
                                .transposed = true,
                                .form = BLOCKS,
                                .zeros = CODE_ZEROS,
                                .scale_dtype = WEFT_F32,
                                .k = 64,
                                .n = 33,
                                .block = 32},
                               {.dtype = WEFT_F16, .k = 64, .n = 33}};
  weft_heap *heap = &g->cpu.heap;
  for (uint32_t floats = 0; floats < 2; floats++) {
    model m;
    weft_buffer *packed = NULL;
    model_open(&m, &parts[floats], 1, BY_READER, 9);
    CHECK_OK(try_to_pack(g, &m, &packed), &g->cpu.error); /* what the driver keeps, it has now */
    weft_buffer_release(&packed);
    uint64_t before = weft_heap_use(heap).bytes;
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (uint64_t room = 1; room < 1u << 20 && status != WEFT_OK; room += 1000) {
      heap->limit = before + room;
      status = try_to_pack(g, &m, &packed);
      if (status == WEFT_OK) break;
      CHECK(status == WEFT_LIMIT_EXCEEDED || status == WEFT_OUT_OF_MEMORY);
      CHECK(packed == NULL);
      CHECK_INT(weft_heap_use(heap).bytes, before);
    }
    CHECK_INT(status, WEFT_OK);
    heap->limit = 0;
    weft_buffer_release(&packed);
    weft_value *last = &m.f.graph.values[floats ? m.weight : m.f.graph.nodes[0].inputs[2]];
    last->data->source.read = read_nothing;
    CHECK_INT(try_to_pack(g, &m, &packed), WEFT_IO_ERROR);
    CHECK_INT(weft_heap_use(heap).bytes, before);
    model_close(&m);
  }
}

/* ---- bench: test_gpu_matmul ADAPTER --bench [m n k] ------------------------------------------ */

static uint64_t time_runs(gpu_run *run, uint32_t count) {
  const weft_runtime *runtime = run->g->cpu.runtime;
  uint64_t start = weft_now_ns(runtime);
  for (; count > 0; count--) {
    run->step_count = count > 1 ? 1 : 2; /* the last is read back */
    if (!CHECK_OK(gpu_execute_steps(run), &run->g->cpu.error)) break;
  }
  return weft_now_ns(runtime) - start;
}

/* One variant: a product to compile and warm up, one to guess how many take 0.3 s, and those. */
static void bench_one(gpu_bench *g, const product *p, uint32_t variant) {
  weft_node node = {.op = WEFT_OP_MATMUL, .name = WEFT_STR("timed"), .attributes = *p->attributes};
  gpu_run *run = calloc(1, sizeof *run);
  run->g = g;
  const weft_array *inputs[2] = {gpu_upload(run, p->inputs[0]), p->packed};
  if (!p->packed) inputs[1] = gpu_upload(run, p->inputs[1]);
  const weft_array *output = gpu_result(run, p->y);
  weft_step *step = gpu_add_step(run, &node, inputs, 2, &output, 1);
  uint32_t slot = gpu_download(run, output);
  if (CHECK_OK(gpu_prepare_steps(run), &g->cpu.error)) {
    uint64_t first = time_runs(run, 1);
    uint64_t once = time_runs(run, 2) / 2, count = 1 + 300000000 / (once + 1);
    if (count > 500) count = 500;
    double seconds = (double)time_runs(run, (uint32_t)count) / (double)count * 1e-9;
    const weft_tuner *tuner = g->gpu->tuner;
    if (tuner->asked != WEFT_TUNE_NONE)
      gpu_print_variant(g, &tuner->entries[tuner->asked], variant);
    check_print(": %s %d us (first %d ms), %d MFLOP/s, %d MB/s\n", step->kernel,
                (int)(seconds * 1e6), (int)(first / 1000000), (int)(step->flops / seconds * 1e-6),
                (int)(step->bytes / seconds * 1e-6));
  }
  (void)slot;
  gpu_end(run);
}

static void bench_variants(gpu_bench *g, const product *p) {
  weft_tuner *tuner = g->gpu->tuner;
  tuner->asked = WEFT_TUNE_NONE;
  bench_one(g, p, 0);
  if (tuner->asked == WEFT_TUNE_NONE) return;
  uint32_t entry = tuner->asked, count = tuner->entries[entry].candidates;
  for (uint32_t i = 1; i < count; i++) {
    tuner->entries[entry].choice = i;
    bench_one(g, p, i);
  }
}

static int64_t bench_dims[3] = {512, 1024, 1024};

static void bench_floats(gpu_bench *g) {
  const int64_t *d = bench_dims;
  for (uint32_t half = 0; half < 2; half++) {
    check_print("%s by %s, computed\n", half ? "f16" : "f32", half ? "f16" : "f32");
    product p = computed(g, half ? WEFT_F16 : WEFT_F32, 2, DIMS(d[0], d[2]), DIMS(d[2], d[1]),
                         DIMS(d[0], d[1]), BENCH_DENSE);
    bench_variants(g, &p);
    bench_clear(&g->cpu);
  }
}

static void bench_weight(gpu_bench *g, const part *parts, bool rounded) {
  const int64_t rows[] = {1, 4, bench_dims[0]};
  model m;
  weft_buffer *packed = NULL;
  model_open(&m, parts, 1, IN_MEMORY, 1);
  for (uint32_t i = 0; i < 3; i++) {
    check_print("%d rows by %s of %u bits%s\n", (int)rows[i],
                parts->dtype == WEFT_F16 ? "floats" : "codes",
                parts->dtype == WEFT_F16 ? 16 : parts->bits, rounded ? ", rounded" : "");
    product p = {.attributes = rounded ? &rounds : &plain, .count = 2};
    p.inputs[0] = bench_random(&g->cpu, WEFT_F32, 2, DIMS(rows[i], m.k), BENCH_DENSE);
    p.y = bench_array(&g->cpu, WEFT_F32, 2, DIMS(rows[i], m.n), BENCH_DENSE);
    p.packed = pack_weight(g, &m, &packed);
    if (p.packed) bench_variants(g, &p);
    weft_buffer_release(&packed);
    bench_clear(&g->cpu);
  }
  model_close(&m);
}

static void bench_weights(gpu_bench *g) {
  part half = {.dtype = WEFT_F16, .k = bench_dims[2], .n = bench_dims[1]};
  bench_weight(g, &half, false);
  for (uint32_t bits = 4; bits <= 8; bits *= 2)
    for (uint32_t rounded = 0; rounded <= g->gpu->facts->dot8; rounded++) {
      part p = {.dtype = WEFT_U8,
                .bits = bits,
                .transposed = true,
                .form = BLOCKS,
                .scale_dtype = WEFT_F16,
                .k = bench_dims[2],
                .n = bench_dims[1],
                .block = 32};
      bench_weight(g, &p, rounded);
    }
}

static int64_t number_of(const char *text) {
  int64_t number = 0;
  for (; *text >= '0' && *text <= '9'; text++) number = number * 10 + (*text - '0');
  return number;
}

static int run_bench(int argc, char **argv) {
  static const gpu_test benches[] = {GPU_TEST(bench_floats), GPU_TEST(bench_weights)};
  for (int i = 0; i < 3 && 3 + i < argc; i++) bench_dims[i] = number_of(argv[3 + i]);
  gpu_run_tests(gpu_adapter(argc, argv), &gpu_variants[1], 1, benches, 2);
  return check_result();
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {
      GPU_TEST(test_shapes),        GPU_SLOW_TEST(test_variants),
      GPU_TEST(test_transposed),    GPU_TEST(test_batches),
      GPU_TEST(test_expressions),   GPU_TEST(test_no_k),
      GPU_TEST(test_codes),         GPU_SLOW_TEST(test_code_variants),
      GPU_TEST(test_float_weights), GPU_TEST(test_parts),
      GPU_TEST(test_rounded),       GPU_TEST(test_unrounded),
      GPU_TEST(test_dense_weights), GPU_TEST(test_layouts),
      GPU_TEST(test_packing_fails),
  };
  const size_t count = sizeof tests / sizeof *tests;
  if (argc < 3) return gpu_main(argc, argv, tests, count);
  if (strcmp(argv[2], "--bench") == 0) return run_bench(argc, argv);
  for (size_t i = 0; i < count; i++) /* one test, by name */
    if (strcmp(tests[i].name, argv[2]) == 0) return gpu_main(argc, argv, &tests[i], 1);
  return 2;
}
