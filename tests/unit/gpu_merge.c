/* Steps that run as parts of others (plan_merge.c, gpu/matmul_merge.c): the feed-forward half of a
 * decoder's layer as sessions on the CPU and on the GPU, and the number of dispatches of a run. */
#include "tests/gpu/gpu_session.h"
#include "tests/gpu/gpu_step.h" /* the features of the baseline */

enum { K = 64, INNER = 96, ROWS_MAX = 5, TABLE = 64, BLOCK = 32 };

typedef struct merge_case {
  const char *name;
  uint32_t bits;                 /* of the weights; 0: floats */
  bool half;                     /* f16, else f32 */
  bool zeros, rounded, residual; /* residual: another reader of the second norm */
  bool features;                 /* of the GPU: all, or the baseline's */
  float tolerance;               /* of the largest */
} merge_case;

/* ---- the model ------------------------------------------------------------------------------- */

static proto attribute_int(const char *name, int64_t value) {
  proto attribute = {0};
  proto_text(&attribute, 1, name);
  proto_varint(&attribute, 3, value);
  proto_varint(&attribute, 20, 2);
  return attribute;
}

static weft_dtype float_of(const merge_case *c) {
  return c->half ? WEFT_F16 : WEFT_F32;
}

static void build_bytes(proto *g, const char *name, size_t rank, const int64_t *dims,
                        size_t count) {
  uint8_t bytes[INNER * K];
  uint32_t state = (uint32_t)name[1];
  for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)((state = state * 1664525u + 1u) >> 24);
  build_initializer(g, name, WEFT_U8, rank, dims, bytes, count);
}

/* x [.., k] by the weight `name` of n columns. */
static void build_product(proto *g, const merge_case *c, const char *x, const char *name,
                          const char *y, int64_t k, int64_t n) {
  char inputs[64], codes[16], scales[16], zeros[16];
  if (c->bits == 0) {
    build_weight_of(g, name, float_of(c), 2, (int64_t[]){k, n});
    snprintf(inputs, sizeof inputs, "%s %s", x, name);
    build_node(g, "MatMul", inputs, y, NULL);
    return;
  }
  int64_t blocks = k / BLOCK, packed = (blocks + 1) / 2;
  snprintf(codes, sizeof codes, "c%s", name);
  snprintf(scales, sizeof scales, "s%s", name);
  snprintf(zeros, sizeof zeros, "z%s", name);
  build_bytes(g, codes, 3, (int64_t[]){n, blocks, BLOCK / 2}, (size_t)(n * blocks * BLOCK / 2));
  build_weight_of(g, scales, float_of(c), 1, (int64_t[]){n * blocks});
  build_bytes(g, zeros, 1, (int64_t[]){n * packed}, (size_t)(n * packed));
  snprintf(inputs, sizeof inputs, "%s %s %s%s%s", x, codes, scales, c->zeros ? " " : "",
           c->zeros ? zeros : "");
  const struct {
    const char *name;
    int64_t value;
  } integers[] = {{"K", k},
                  {"N", n},
                  {"bits", c->bits},
                  {"block_size", BLOCK},
                  {"accuracy_level", c->rounded ? 4 : 1}};
  proto attributes = {0};
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
    proto attribute = attribute_int(integers[i].name, integers[i].value);
    proto_add(&attributes, 5, &attribute);
  }
  proto_text(&attributes, 7, "com.microsoft");
  build_node(g, "MatMulNBits", inputs, y, &attributes);
}

/* ids i64[tokens] -> y [tokens,K]: x = embedding; h = x + norm(x) o; y = h + (silu(n gate) (n
 * up)) down, n = norm(h); and `residual`: + n. */
static proto build_half(const merge_case *c) {
  proto g = {0};
  build_weight_of(&g, "table", float_of(c), 2, (int64_t[]){TABLE, K});
  build_weight_of(&g, "g1", float_of(c), 1, (int64_t[]){K});
  build_weight_of(&g, "g2", float_of(c), 1, (int64_t[]){K});
  build_node(&g, "Gather", "table ids", "x", NULL);
  build_node(&g, "SimplifiedLayerNormalization", "x g1", "n1", NULL);
  build_product(&g, c, "n1", "o", "o1", K, K);
  build_node(&g, "Add", "o1 x", "h", NULL);
  build_node(&g, "SimplifiedLayerNormalization", "h g2", "n2", NULL);
  build_product(&g, c, "n2", "gate", "gated", K, INNER);
  build_product(&g, c, "n2", "up", "upped", K, INNER);
  build_node(&g, "Sigmoid", "gated", "sigmoid", NULL);
  build_node(&g, "Mul", "gated sigmoid", "silu", NULL);
  build_node(&g, "Mul", "silu upped", "inner", NULL);
  build_product(&g, c, "inner", "down", "d", INNER, K);
  build_node(&g, "Add", "d h", c->residual ? "sum" : "y", NULL);
  if (c->residual) build_node(&g, "Add", "sum n2", "y", NULL);
  build_value_of(&g, 11, "ids", WEFT_I64, "tokens");
  build_value_of(&g, 12, "y", float_of(c), "tokens,64");
  proto opset = {0}, model = build_model(&g);
  proto_text(&opset, 1, "com.microsoft");
  proto_varint(&opset, 2, 1);
  proto_add(&model, 8, &opset);
  return model;
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* A session on the CPU where there is no driver. */
static bool open_rig(gpu_rig *rig, const proto *file, const merge_case *c,
                     weft_gpu_driver *(*driver)(gpu_rig *rig, void *user), void *user) {
  weft_session_options options = weft_session_options_default();
  options.kernels = "reference";
  options.activations = c->rounded ? WEFT_ACTIVATIONS_AUTO : WEFT_ACTIVATIONS_F32;
  options.tune = WEFT_TUNE_OFF;
  memset(rig, 0, sizeof *rig);
  if (!CHECK_OK(rig_open_runtime(rig), &rig->error)) return false;
  weft_gpu_driver *opened = driver ? driver(rig, user) : NULL;
  if (driver && !CHECK(opened != NULL)) return false;
  if (opened) (c->features ? gpu_mask_none : gpu_mask_all)(&opened->facts);
  if (opened && !CHECK_OK(weft_gpu_open_driver(&rig->runtime->heap, opened, &rig->gpu, &rig->error),
                          &rig->error))
    return false;
  return CHECK_OK(rig_open_session(rig, file, &options), &rig->error);
}

static void run_rig(gpu_rig *rig, int64_t tokens, float *y) {
  static const int64_t all[] = {7, 63, 0, 31, 8};
  int64_t ids[ROWS_MAX];
  memcpy(ids, all, sizeof ids);
  weft_tensor *fed = NULL;
  CHECK_OK(weft_tensor_wrap(rig->runtime, WEFT_I64, &tokens, 1, ids, (size_t)tokens * 8, &fed,
                            &rig->error),
           &rig->error);
  weft_binding input = {"ids", fed}, output = {"y", NULL};
  weft_status status =
      rig_finish(rig, weft_session_run(rig->session, NULL, &input, 1, &output, 1, &rig->error));
  if (CHECK_OK(status, &rig->error)) {
    weft_dtype dtype = weft_tensor_dtype(output.tensor);
    const uint8_t *from = weft_tensor_data(output.tensor);
    for (int64_t i = 0; i < tokens * K; i++, from += weft_dtype_size(dtype))
      y[i] = weft_float_at(dtype, from);
  }
  weft_tensor_close(&fed);
}

static weft_gpu_driver *open_null(gpu_rig *rig, void *counts) {
  weft_gpu_driver *driver = NULL;
  if (CHECK_OK(weft_gpu_null_open(&rig->runtime->heap, NULL, counts, &driver, &rig->error),
               &rig->error))
    driver->facts.dot8 = true;
  return driver;
}

static weft_gpu_driver *open_native(gpu_rig *rig, void *adapter) {
  weft_gpu_driver *driver = NULL;
  CHECK_OK(weft_gpu_native_open(&rig->runtime->heap, adapter, &driver, &rig->error), &rig->error);
  return driver;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static uint64_t count_dispatches(const merge_case *c, int64_t tokens) {
  gpu_rig rig;
  weft_gpu_null_counts counts = {0};
  float y[ROWS_MAX * K];
  proto file = build_half(c);
  if (open_rig(&rig, &file, c, open_null, &counts)) {
    run_rig(&rig, tokens, y);
    counts.dispatches = 0;
    run_rig(&rig, tokens, y);
  }
  rig_close(&rig);
  proto_free(&file);
  return counts.dispatches;
}

static const merge_case f32 = {.name = "f32", .tolerance = 2e-6f};
static const merge_case int4 = {.name = "int4", .bits = 4, .features = true, .tolerance = 2e-6f};
static const merge_case zeros = {.name = "zeros", .bits = 4, .zeros = true, .tolerance = 2e-6f};
static const merge_case f16 = {.name = "f16", .half = true, .tolerance = 2e-3f};
static const merge_case q4f16 = {.name = "q4f16", .bits = 4, .half = true, .tolerance = 2e-3f};
static const merge_case shared = {.name = "shared", .residual = true, .tolerance = 2e-6f};
/* Where a number lies between two codes, x / 127 may go to either. */
static const merge_case rounded = {
    .name = "rounded", .bits = 4, .rounded = true, .features = true, .tolerance = 1e-2f};

/* The gather, and a dispatch for each product but `up`; more rows, norms apart, and rounding. */
static void test_dispatches(void) {
  CHECK_INT(count_dispatches(&f32, 1), 4);
  CHECK_INT(count_dispatches(&f32, 4), 4);
  CHECK_INT(count_dispatches(&f32, 5), 7);
  CHECK_INT(count_dispatches(&f16, 1), 4);
  CHECK_INT(count_dispatches(&f16, 5), 7);
  CHECK_INT(count_dispatches(&int4, 1), 4);
  CHECK_INT(count_dispatches(&q4f16, 1), 4);
  CHECK_INT(count_dispatches(&rounded, 1), 4);
  CHECK_INT(count_dispatches(&rounded, 5), 11);
  CHECK_INT(count_dispatches(&zeros, 1), 5);  /* too many bindings for one of the norms */
  CHECK_INT(count_dispatches(&shared, 1), 5); /* a norm that others read */
}

static void check_case(const merge_case *c, int64_t tokens, char *adapter) {
  gpu_rig cpu, gpu;
  float expected[ROWS_MAX * K], actual[ROWS_MAX * K], largest = 0, error = 0;
  proto file = build_half(c);
  if (open_rig(&cpu, &file, c, NULL, NULL)) run_rig(&cpu, tokens, expected);
  if (open_rig(&gpu, &file, c, open_native, adapter)) run_rig(&gpu, tokens, actual);
  rig_close(&cpu);
  rig_close(&gpu);
  proto_free(&file);
  for (int64_t i = 0; i < tokens * K; i++) {
    float size = expected[i] < 0 ? -expected[i] : expected[i], difference = actual[i] - expected[i];
    if (difference < 0) difference = -difference;
    if (size > largest) largest = size;
    if (!(difference <= error)) error = difference;
  }
  if (!CHECK(error <= c->tolerance * largest) || getenv("WEFT_TEST_PRINT"))
    check_print("  %s, %d rows: differs by %g of the largest\n", c->name, (int)tokens,
                (double)(error / largest));
}

/* With an argument, also on the adapter that WEFT_GPU_ADAPTER names, or the fastest. */
int main(int argc, char **argv) {
  (void)argv;
  char *adapter = getenv("WEFT_GPU_ADAPTER");
  CHECK_RUN(test_dispatches);
  if (argc < 2 || (adapter && strcmp(adapter, "null") == 0)) return check_result();
  check_case(&f32, 3, adapter);
  check_case(&f16, 4, adapter);
  check_case(&int4, 1, adapter);
  check_case(&q4f16, 3, adapter);
  check_case(&zeros, 1, adapter);
  check_case(&rounded, 2, adapter);
  return check_result();
}
