/* Tests of weights of few bits: packed from every form that a file may give them, multiplied by
 * rows of floats and by rows rounded to 8 bits, against the definition in double; where they are
 * read from; and what fails. */
#include "cpu/codes.h"
#include "tests/unit/cpu_step.h"
#include "tests/unit/weight_build.h"

/* ---- running --------------------------------------------------------------------------------- */

static weft_status pack(bench *b, model *m, weft_buffer **out, weft_layout *layout) {
  weft_value_id ids[2] = {m->weight, m->weight};
  weft_node node = {
      .op = WEFT_OP_MATMUL, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  return b->device->pack(b->device, &m->f.graph, &node, 1, &b->heap, out, layout, &b->error);
}

/* The weight as an array in the layout of the device. */
static weft_array packed_array(const model *m, const weft_buffer *packed) {
  return (weft_array){.dtype = WEFT_F32,
                      .rank = 2,
                      .dims = {m->k, m->n},
                      .strides = {m->n, 1},
                      .elements = (uint64_t)(m->k * m->n),
                      .constant = packed->data,
                      .layout = WEFT_LAYOUT_CODES};
}

static double size_of(double x) {
  return x < 0 ? -x : x;
}

/* Row `row` of a, and for each element half a step of the grid of its block: the largest |a| of the
 * block over 254. */
static void read_row(const bench *b, const weft_array *a, uint64_t row, int64_t k, int64_t block,
                     double *x, double *half_step) {
  for (int64_t i = 0; i < k; i++)
    x[i] = (double)bench_f32(b, a, row * (uint64_t)k + (uint64_t)i), half_step[i] = 0;
  for (int64_t first = 0; first < k && block > 0; first += block) {
    int64_t end = first + block < k ? first + block : k;
    double largest = 0;
    for (int64_t i = first; i < end; i++)
      if (size_of(x[i]) > largest) largest = size_of(x[i]);
    for (int64_t i = first; i < end; i++) half_step[i] = largest / 254;
  }
}

/* Every element within its bound: that of sums in f32, and where rows were rounded half a step of
 * each block's grid for each product. */
static void check_product(const bench *b, const model *m, const weft_array *a, const weft_array *y,
                          int64_t block) {
  uint64_t wrong = 0, rows = a->elements / (uint64_t)m->k;
  double *x = malloc((size_t)m->k * 2 * sizeof *x), *half_step = x + m->k;
  for (uint64_t row = 0; row < rows; row++) {
    read_row(b, a, row, m->k, block, x, half_step);
    for (int64_t n = 0; n < m->n; n++) {
      double sum = 0, sizes = 0, steps = 0;
      for (int64_t k = 0; k < m->k; k++) {
        double w = m->dense[n * m->k + k];
        sum += x[k] * w;
        sizes += size_of(x[k] * w);
        steps += half_step[k] * size_of(w);
      }
      double error = size_of((double)bench_f32(b, y, row * (uint64_t)m->n + (uint64_t)n) - sum);
      wrong += !(error <= 1.001 * steps + 2e-5 * sizes + 1e-6);
    }
  }
  CHECK_INT(wrong, 0);
  free(x);
}

static void run_product(bench *b, const weft_array *a, const weft_array *w, bool rounded,
                        const weft_array *y) {
  weft_attributes attributes = {.matmul = {.int8_rows = rounded}};
  const weft_array *inputs[] = {a, w};
  CHECK_OK(bench_run(b, WEFT_OP_MATMUL, &attributes, inputs, 2, y), &b->error);
}

/* Multiplies random rows with the packed weight, as floats or rounded. */
static void multiply(bench *b, const model *m, const weft_buffer *packed, int64_t batch,
                     int64_t rows, bool rounded, bench_strides strides) {
  const weft_packed *header = (const weft_packed *)(const void *)packed->data;
  weft_array w = packed_array(m, packed);
  weft_array *a = bench_random(b, WEFT_F32, 3, (int64_t[]){batch, rows, m->k}, strides);
  weft_array *y = bench_array(b, WEFT_F32, 3, (int64_t[]){batch, rows, m->n}, BENCH_DENSE);
  run_product(b, a, &w, rounded, y);
  bool codes = header->kind == WEFT_PACKED_CODES;
  check_product(b, m, a, y, rounded && codes ? (int64_t)header->format.block : 0);
}

static weft_buffer *pack_checked(bench *b, model *m) {
  weft_buffer *packed = NULL;
  weft_layout layout = WEFT_LAYOUT_DENSE;
  CHECK_OK(pack(b, m, &packed, &layout), &b->error);
  if (CHECK(packed != NULL)) CHECK_INT(layout, WEFT_LAYOUT_CODES);
  return packed;
}

/* A device, and a weight packed for it. */
typedef struct subject {
  bench b;
  model m;
  weft_buffer *packed;
  weft_array w;
} subject;

/* With an open device. */
static void subject_pack(subject *s, const part *p, handing how) {
  model_open(&s->m, p, 1, how, 5);
  s->packed = pack_checked(&s->b, &s->m);
  s->w = packed_array(&s->m, s->packed);
}

static void subject_open(subject *s, const part *p, handing how, uint32_t threads) {
  bench_open(&s->b, NULL, threads);
  subject_pack(s, p, how);
}

static void subject_close(subject *s) {
  weft_buffer_release(&s->packed);
  model_close(&s->m);
  bench_close(&s->b);
}

/* [n][k] codes of four bits in blocks of 32, as decoders have them. */
static part four_bits(int64_t k, int64_t n, zeros_kind zeros) {
  return (part){.dtype = WEFT_U8,
                .bits = 4,
                .form = BLOCKS,
                .zeros = zeros,
                .transposed = true,
                .scale_dtype = WEFT_F32,
                .k = k,
                .n = n,
                .block = 32};
}

/* ---- forms ----------------------------------------------------------------------------------- */

static part random_part(bench *b) {
  part p = {.dtype = bench_below(b, 3) ? WEFT_U8 : WEFT_I8,
            .bits = 2u << bench_below(b, 3),
            .transposed = bench_below(b, 2),
            .form = (form)bench_below(b, 3),
            .zeros = (zeros_kind)bench_below(b, 4),
            .scale_dtype = bench_below(b, 3)   ? WEFT_F32
                           : bench_below(b, 2) ? WEFT_F16
                                               : WEFT_BF16,
            .k = 1 + (int64_t)bench_below(b, 150),
            .n = 1 + (int64_t)bench_below(b, 60),
            .block = 16 << bench_below(b, 3),
            .seven = bench_below(b, 2)};
  if (bench_below(b, 8) == 0) p.k += 700;
  if (p.bits < 8) p.dtype = WEFT_U8;
  p.seven &= p.bits == 8;
  return p;
}

static void check_part(bench *b, const part *parts, uint32_t count, handing how, uint64_t seed) {
  unsigned failures = check_failures;
  model m;
  model_open(&m, parts, count, how, seed);
  weft_buffer *packed = pack_checked(b, &m);
  if (packed) {
    multiply(b, &m, packed, 1, 1, false, BENCH_DENSE);
    multiply(b, &m, packed, 1, 1, true, BENCH_DENSE);
    multiply(b, &m, packed, 1 + (int64_t)(seed % 3), 1 + (int64_t)(seed % 17), false, BENCH_ROWS);
    multiply(b, &m, packed, 1 + (int64_t)(seed % 3), 1 + (int64_t)(seed % 17), true, BENCH_ROWS);
  }
  weft_buffer_release(&packed);
  bench_clear(b);
  model_close(&m);
  if (check_failures != failures)
    check_print("  seed %llu: bits %u k %lld n %lld transposed %d form %d zeros %d parts %u\n",
                (unsigned long long)seed, parts->bits, (long long)parts->k, (long long)parts->n,
                parts->transposed, (int)parts->form, (int)parts->zeros, count);
}

static void all_forms(const char *kernels, uint64_t rounds) {
  bench b;
  bench_open(&b, kernels, 2);
  for (uint64_t seed = 0; seed < rounds; seed++) {
    part p = random_part(&b);
    check_part(&b, &p, 1, (handing)(seed % 3), seed);
  }
  bench_close(&b);
}
static void test_forms_best(void) {
  all_forms(NULL, 240);
}
static void test_forms_reference(void) {
  all_forms("reference", 100);
}

/* Several parts side by side, each with its own form of scales and zeros; panels end inside them.
 */
static void test_parts(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (uint64_t seed = 0; seed < 100; seed++) {
    part parts[4];
    uint32_t count = 2 + (uint32_t)(seed % 3);
    for (uint32_t i = 0; i < count; i++) {
      parts[i] = random_part(&b);
      parts[i].bits = parts[0].bits, parts[i].k = parts[0].k, parts[i].block = parts[0].block;
      if (parts[i].bits < 8) parts[i].dtype = WEFT_U8;
      parts[i].seven &= parts[i].bits == 8;
      if (parts[i].form == BLOCKS || parts[0].form == BLOCKS) parts[i].form = parts[0].form;
    }
    check_part(&b, parts, count, (handing)(seed % 3), seed);
  }
  bench_close(&b);
}

/* A weight of int8 whose four codes 0, 1, 4, 5 of the last column are given: whether it is packed
 * as a narrow format. The product is right either way, with rows of the largest codes too. */
static bool packs_narrow(const int8_t codes[4]) {
  static const uint8_t at[4] = {0, 1, 4, 5};
  part p = {.dtype = WEFT_I8,
            .bits = 8,
            .form = VECTOR,
            .scale_dtype = WEFT_F32,
            .transposed = true,
            .k = 40,
            .n = 21,
            .seven = true};
  subject s;
  bench_open(&s.b, NULL, 1);
  model_open(&s.m, &p, 1, IN_MEMORY, 5);
  for (int64_t i = 0, first = (p.n - 1) * p.k; i < 4; i++) {
    int8_t *code = (int8_t *)s.m.bytes[0] + first + at[i];
    double *dense = &s.m.dense[first + at[i]], scale = s.m.dense[first + 7];
    scale /= (double)(int8_t)s.m.bytes[0][first + 7];
    *code = codes[i];
    *dense = scale * codes[i];
  }
  s.packed = pack_checked(&s.b, &s.m);
  bool narrow = ((const weft_packed *)(const void *)s.packed->data)->format.narrow;
  multiply(&s.b, &s.m, s.packed, 1, 1, true, BENCH_DENSE);
  multiply(&s.b, &s.m, s.packed, 1, 5, true, BENCH_DENSE);
  multiply(&s.b, &s.m, s.packed, 1, 5, false, BENCH_DENSE);
  subject_close(&s);
  return narrow;
}

static void test_narrow(void) {
  CHECK(packs_narrow((int8_t[]){0, 0, 0, 0}));
  CHECK(packs_narrow((int8_t[]){64, -64, 64, -64}));
  CHECK(packs_narrow((int8_t[]){65, 65, -64, -64}));
  CHECK(!packs_narrow((int8_t[]){65, 65, -64, 65}));
  CHECK(!packs_narrow((int8_t[]){66, 0, 0, 0}));
  CHECK(!packs_narrow((int8_t[]){0, 0, 0, -65}));
  CHECK(!packs_narrow((int8_t[]){127, -128, 127, -128}));
}

static void test_floats(void) {
  static const weft_dtype types[] = {WEFT_F16, WEFT_BF16};
  bench b;
  bench_open(&b, NULL, 2);
  for (uint64_t seed = 0; seed < 40; seed++) {
    part parts[2] = {{.dtype = types[seed % 2], .k = 1 + (int64_t)bench_below(&b, 900), .n = 37},
                     {.dtype = types[seed % 2], .n = 1 + (int64_t)bench_below(&b, 60)}};
    parts[1].k = parts[0].k;
    check_part(&b, parts, 1 + seed % 2, (handing)(seed % 3), seed);
  }
  CHECK(b.kernel != NULL);
  bench_close(&b);
}

/* Larger than the pieces of 4 MiB that a reader is asked for: rows of codes and of floats. */
static void test_pieces(void) {
  part parts[] = {
      {.dtype = WEFT_I8, .bits = 8, .form = VECTOR, .scale_dtype = WEFT_F32, .k = 640, .n = 6700},
      {.dtype = WEFT_F16, .k = 1030, .n = 2070}};
  for (uint32_t i = 0; i < COUNT_OF(parts); i++) {
    subject s;
    subject_open(&s, &parts[i], BY_READER, 3);
    multiply(&s.b, &s.m, s.packed, 1, 1, false, BENCH_DENSE);
    subject_close(&s);
  }
}

/* The other order, of which the peak is known too: the source is never there as a whole.
 * What packing holds beside the result is a piece of each source, and a panel. */
static void test_memory(void) {
  part p = four_bits(2048, 5120, CODE_ZEROS);
  subject s;
  subject_open(&s, &p, BY_READER, 3);
  uint64_t packed = s.packed->bytes;
  CHECK(weft_heap_use(&s.b.heap).bytes_peak <= packed + (6u << 20));
  CHECK(weft_heap_use(&s.b.heap).bytes <= packed + 4096);
  multiply(&s.b, &s.m, s.packed, 1, 1, false, BENCH_DENSE);
  subject_close(&s);
}

static void test_many_rows(void) {
  part p = four_bits(600, 70, NO_ZEROS);
  subject s;
  subject_open(&s, &p, IN_MEMORY, 3);
  multiply(&s.b, &s.m, s.packed, 1, 300, false, BENCH_DENSE);
  CHECK_TEXT(s.b.kernel, "gemm-q4-f32");
  multiply(&s.b, &s.m, s.packed, 1, 300, true, BENCH_DENSE);
  CHECK_TEXT(s.b.kernel, "gemm-q4-int8");
  multiply(&s.b, &s.m, s.packed, 1, 1, true, BENCH_DENSE);
  CHECK_TEXT(s.b.kernel, "gemv-q4-int8");
  subject_close(&s);
}

/* ---- the product around it ------------------------------------------------------------------- */

/* a * w + bias + residual, of which check_product sees the product. */
static void check_epilogue(subject *s, int64_t rows, bool rounded, int64_t block) {
  weft_instruction code[] = {{.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {0, 1}},
                             {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {3, 2}}};
  weft_attributes attributes = {.matmul = {.int8_rows = rounded,
                                           .expr = {.input_count = 3,
                                                    .code_count = 2,
                                                    .input_dtypes = {WEFT_F32, WEFT_F32, WEFT_F32},
                                                    .code = code}}};
  bench *b = &s->b;
  uint64_t n = (uint64_t)s->m.n;
  weft_array *a = bench_random(b, WEFT_F32, 2, (int64_t[]){rows, s->m.k}, BENCH_DENSE);
  weft_array *bias = bench_random(b, WEFT_F32, 1, &s->m.n, BENCH_DENSE);
  weft_array *residual = bench_random(b, WEFT_F32, 2, (int64_t[]){rows, s->m.n}, BENCH_DENSE);
  weft_array *y = bench_array(b, WEFT_F32, 2, (int64_t[]){rows, s->m.n}, BENCH_DENSE);
  const weft_array *inputs[] = {a, &s->w, bias, residual};
  CHECK_OK(bench_run(b, WEFT_OP_MATMUL, &attributes, inputs, 4, y), &b->error);
  for (uint64_t i = 0; i < y->elements; i++)
    bench_set_f32(b, y, i,
                  bench_f32(b, y, i) - bench_f32(b, residual, i) - bench_f32(b, bias, i % n));
  check_product(b, &s->m, a, y, rounded ? block : 0);
  bench_clear(b);
}

/* Bias and residual are added to each block, as for a weight of floats. */
static void test_epilogue(void) {
  part p = four_bits(96, 75, NO_ZEROS);
  subject s;
  subject_open(&s, &p, IN_MEMORY, 2);
  for (int64_t rows = 1; rows < 200; rows = rows * 3 + 1)
    for (int rounded = 0; rounded < 2; rounded++) check_epilogue(&s, rows, rounded, p.block);
  subject_close(&s);
}

/* Rows are rounded where the model allows it, unless the session says never or always. */
static void test_activations(void) {
  static const char *const expected[3][2] = {{"gemm-q4-f32", "gemm-q4-int8"},
                                             {"gemm-q4-f32", "gemm-q4-f32"},
                                             {"gemm-q4-int8", "gemm-q4-int8"}};
  part p = {.dtype = WEFT_U8, .bits = 4, .form = SINGLE, .scale_dtype = WEFT_F32, .k = 64, .n = 40};
  for (int activations = 0; activations < 3; activations++) {
    subject s;
    bench *b = &s.b;
    bench_open(b, NULL, 1);
    b->device->close(b->device);
    weft_session_options options = {.activations = (weft_activations)activations};
    CHECK_OK(weft_cpu_open(b->runtime, &options, &b->heap, &b->device, &b->error), &b->error);
    subject_pack(&s, &p, IN_MEMORY);
    for (int allowed = 0; allowed < 2; allowed++) {
      weft_array *a = bench_random(b, WEFT_F32, 2, (int64_t[]){3, p.k}, BENCH_DENSE);
      run_product(b, a, &s.w, allowed,
                  bench_array(b, WEFT_F32, 2, (int64_t[]){3, p.n}, BENCH_DENSE));
      CHECK_TEXT(b->kernel, expected[activations][allowed]);
    }
    subject_close(&s);
  }
}

/* The product of rows in f16 is that of the same rows in f32, rounded once. */
static void check_half_rows(subject *s, int64_t rows, bool rounded) {
  bench *b = &s->b;
  int64_t k = s->m.k, n = s->m.n;
  weft_array *a = bench_array(b, WEFT_F16, 2, (int64_t[]){rows, k}, BENCH_DENSE);
  weft_array *same = bench_array(b, WEFT_F32, 2, (int64_t[]){rows, k}, BENCH_DENSE);
  weft_array *y = bench_array(b, WEFT_F16, 2, (int64_t[]){rows, n}, BENCH_DENSE);
  weft_array *wide = bench_array(b, WEFT_F32, 2, (int64_t[]){rows, n}, BENCH_DENSE);
  for (uint64_t i = 0; i < a->elements; i++) {
    float value = some_number(&s->m);
    bench_set_f32(b, same, i, value);
    put_number(bench_at(b, a, 0), i, value, WEFT_F16);
  }
  weft_array half = s->w;
  half.dtype = WEFT_F16;
  run_product(b, a, &half, rounded, y);
  run_product(b, same, &s->w, rounded, wide);
  uint16_t *expected = malloc(wide->elements * 2);
  weft_kernels_find("reference", 0)
      ->f32_to_f16((size_t)wide->elements, bench_at(b, wide, 0), expected);
  CHECK(memcmp(expected, bench_at(b, y, 0), wide->elements * 2) == 0);
  free(expected);
  bench_clear(b);
}

/* Activations of 16 bits: made f32, or rounded to codes from there. */
static void test_half_rows(void) {
  part p = {.dtype = WEFT_U8, .bits = 8, .form = VECTOR, .scale_dtype = WEFT_F32, .k = 64, .n = 40};
  subject s;
  subject_open(&s, &p, IN_MEMORY, 3);
  for (int64_t rows = 1; rows < 400; rows += 130)
    for (int rounded = 0; rounded < 2; rounded++) check_half_rows(&s, rows, rounded);
  subject_close(&s);
}

/* The products of a row, and of many, by floats and rounded: kept in `first` the first time, and
 * compared with it then. */
enum { PRODUCTS = 4 };
static void compare_products(subject *s, uint8_t *first[PRODUCTS]) {
  for (uint32_t i = 0; i < PRODUCTS; i++) {
    int64_t rows = i % 2 ? 170 : 1;
    weft_array *a = bench_random(&s->b, WEFT_F32, 2, (int64_t[]){rows, s->m.k}, BENCH_DENSE);
    weft_array *y = bench_array(&s->b, WEFT_F32, 2, (int64_t[]){rows, s->m.n}, BENCH_DENSE);
    run_product(&s->b, a, &s->w, i >= PRODUCTS / 2, y);
    size_t bytes = (size_t)y->elements * 4;
    if (first[i] == NULL)
      first[i] = memcpy(malloc(bytes), bench_at(&s->b, y, 0), bytes);
    else
      CHECK(memcmp(first[i], bench_at(&s->b, y, 0), bytes) == 0);
  }
}

/* To the last bit. */
static void test_threads_do_not_matter(void) {
  static const uint32_t threads[] = {1, 2, 3, 8};
  part parts[] = {
      four_bits(512, 1100, NO_ZEROS),
      {.dtype = WEFT_I8, .bits = 8, .form = VECTOR, .scale_dtype = WEFT_F32, .k = 512, .n = 1100},
      {.dtype = WEFT_F16, .k = 512, .n = 1100}};
  for (uint32_t i = 0; i < COUNT_OF(parts); i++) {
    uint8_t *first[PRODUCTS] = {NULL};
    for (uint32_t t = 0; t < COUNT_OF(threads); t++) {
      subject s;
      subject_open(&s, &parts[i], IN_MEMORY, threads[t]);
      compare_products(&s, first);
      subject_close(&s);
    }
    for (uint32_t k = 0; k < PRODUCTS; k++) free(first[k]);
  }
}

/* ---- failures -------------------------------------------------------------------------------- */

static void test_lack_of_memory(void) {
  bench b;
  bench_open(&b, NULL, 1);
  part p = four_bits(64, 33, CODE_ZEROS);
  model m;
  model_open(&m, &p, 1, BY_READER, 9);
  uint64_t before = weft_heap_use(&b.heap).bytes;
  weft_buffer *packed = NULL;
  weft_layout layout;
  uint64_t room = 0;
  for (;; room += 64) {
    b.heap.limit = before + room + 1;
    weft_status status = pack(&b, &m, &packed, &layout);
    if (status == WEFT_OK) break;
    bool refused = status == WEFT_LIMIT_EXCEEDED || status == WEFT_OUT_OF_MEMORY;
    if (!CHECK(refused) || !CHECK(packed == NULL)) break;
    if (!CHECK_INT(weft_heap_use(&b.heap).bytes, before)) break;
  }
  CHECK(room > 1000);
  b.heap.limit = 0;
  weft_buffer_release(&packed);
  model_close(&m);
  bench_close(&b);
}

/* Each of the three constants may be the one that cannot be read. */
static void test_broken_reader(void) {
  bench b;
  bench_open(&b, NULL, 1);
  part p = four_bits(64, 33, CODE_ZEROS);
  for (uint32_t broken = 0; broken < 3; broken++) {
    model m;
    model_open(&m, &p, 1, BY_READER, 9);
    uint64_t before = weft_heap_use(&b.heap).bytes;
    const weft_node *node = &m.f.graph.nodes[0];
    m.f.graph.values[node->inputs[broken]].data->source.read = read_nothing;
    weft_buffer *packed = NULL;
    weft_layout layout;
    CHECK_INT(pack(&b, &m, &packed, &layout), WEFT_IO_ERROR);
    CHECK(packed == NULL);
    CHECK_INT(weft_heap_use(&b.heap).bytes, before);
    model_close(&m);
  }
  bench_close(&b);
}

/* Forms that the kernels cannot take are left as they are. */
static void test_what_is_not_packed(void) {
  part small_block = four_bits(64, 33, NO_ZEROS), along_rows = small_block;
  small_block.bits = along_rows.bits = 8;
  small_block.block = 8;
  along_rows.form = VECTOR;
  along_rows.k = along_rows.n = 33;
  const part *parts[] = {&small_block, &along_rows};
  bench b;
  bench_open(&b, NULL, 1);
  for (uint32_t i = 0; i < COUNT_OF(parts); i++) {
    model m;
    model_open(&m, parts[i], 1, IN_MEMORY, 10);
    if (parts[i] == &along_rows) m.f.graph.nodes[0].attributes.dequantize.axis = 1;
    weft_buffer *packed = NULL;
    weft_layout layout;
    CHECK_OK(pack(&b, &m, &packed, &layout), &b.error);
    CHECK(packed == NULL);
    model_close(&m);
  }
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_forms_best);
  CHECK_RUN(test_forms_reference);
  CHECK_RUN(test_parts);
  CHECK_RUN(test_narrow);
  CHECK_RUN(test_floats);
  CHECK_RUN(test_pieces);
  CHECK_RUN(test_memory);
  CHECK_RUN(test_many_rows);
  CHECK_RUN(test_epilogue);
  CHECK_RUN(test_activations);
  CHECK_RUN(test_half_rows);
  CHECK_RUN(test_threads_do_not_matter);
  CHECK_RUN(test_lack_of_memory);
  CHECK_RUN(test_broken_reader);
  CHECK_RUN(test_what_is_not_packed);
  return check_result();
}
