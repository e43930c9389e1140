/* Test of how many dispatches a token takes on a GPU: a decoder as onnxruntime-genai's builder
 * writes it, on the null driver, with few layers and with two more. */
#include "run/session.h"
#include "tests/gpu/gpu_session.h"

/* Of a layer and token: q, k and v; attention; its projection; gate and up; down. WebGPU has no
 * order between the workgroups of a dispatch, and each of these reads all of the one before. */
enum { DISPATCHES_OF_A_LAYER = 5, DISPATCHES_OF_A_LONG_PAST = 6 /* keys in parts are joined */ };

enum { LAYERS_MAX = 4, HEADS = 4, GROUPS = 2, SIZE = 16, ALL = HEADS * SIZE, HIDDEN = 128 };

static weft_dtype numbers; /* of the model */

/* ---- the model ------------------------------------------------------------------------------- */

static void put_int(proto *attributes, const char *name, int64_t value) {
  proto attribute = {0};
  proto_text(&attribute, 1, name);
  proto_varint(&attribute, 3, value);
  proto_varint(&attribute, 20, 2);
  proto_add(attributes, 5, &attribute);
}

/* Names with "#" for the layer. */
static const char *of_layer(const char *names, int layer, char buffer[static 256]) {
  size_t length = 0;
  for (; *names && length < 255; names++)
    buffer[length++] = *names == '#' ? (char)('0' + layer) : *names;
  buffer[length] = 0;
  return buffer;
}

static void layer_node(proto *g, int layer, const char *op, const char *inputs, const char *outputs,
                       proto *attributes) {
  char from[256], to[256];
  build_node(g, op, of_layer(inputs, layer, from), of_layer(outputs, layer, to), attributes);
}

static void layer_weight(proto *g, int layer, const char *name, int64_t rows, int64_t columns) {
  char buffer[256];
  build_weight_of(g, of_layer(name, layer, buffer), numbers, columns ? 2 : 1,
                  (int64_t[]){rows, columns});
}

static void layer_norm(proto *g, int layer, const char *inputs, const char *output) {
  proto attributes = {0};
  put_int(&attributes, "axis", -1);
  layer_node(g, layer, "SimplifiedLayerNormalization", inputs, output, &attributes);
}

static void build_attending(proto *g, int layer) {
  proto attributes = {0};
  char buffer[256];
  layer_weight(g, layer, "wqkv#", ALL, (HEADS + 2 * GROUPS) * SIZE);
  layer_weight(g, layer, "wo#", ALL, ALL);
  layer_node(g, layer, "MatMul", "n# wqkv#", "qkv#", NULL);
  put_int(&attributes, "num_heads", HEADS);
  put_int(&attributes, "kv_num_heads", GROUPS);
  put_int(&attributes, "do_rotary", 1);
  proto_text(&attributes, 7, "com.microsoft");
  layer_node(g, layer, "GroupQueryAttention", "qkv#   past_k# past_v# last total cosines sines",
             "o# present_k# present_v#", &attributes);
  layer_node(g, layer, "MatMul", "o# wo#", "p#", NULL);
  layer_node(g, layer, "Add", "x# p#", "r#", NULL);
  for (const char *name = "kv"; *name; name++) {
    char past[] = "past_k#", present[] = "present_k#";
    past[5] = present[8] = *name;
    build_value_of(g, 11, of_layer(past, layer, buffer), numbers, "batch,2,past,16");
    build_value_of(g, 12, of_layer(present, layer, buffer), numbers, "batch,2,total,16");
  }
}

static void build_forward(proto *g, int layer) {
  char next[8];
  snprintf(next, sizeof next, "x%d", layer + 1);
  layer_weight(g, layer, "wg#", ALL, HIDDEN);
  layer_weight(g, layer, "wu#", ALL, HIDDEN);
  layer_weight(g, layer, "wd#", HIDDEN, ALL);
  layer_node(g, layer, "MatMul", "m# wg#", "gate#", NULL);
  layer_node(g, layer, "MatMul", "m# wu#", "up#", NULL);
  layer_node(g, layer, "Sigmoid", "gate#", "s#", NULL);
  layer_node(g, layer, "Mul", "gate# s#", "silu#", NULL);
  layer_node(g, layer, "Mul", "silu# up#", "h#", NULL);
  layer_node(g, layer, "MatMul", "h# wd#", "d#", NULL);
  layer_node(g, layer, "Add", "r# d#", next, NULL);
}

static proto build_llama(int layers) {
  static const int64_t table[] = {VOCABULARY, ALL}, angles[] = {1024, SIZE / 2}, one = 1;
  proto g = {0}, to = {0}, opset = {0};
  char last[8];
  build_weight_of(&g, "table", numbers, 2, table);
  build_weight_of(&g, "cosines", numbers, 2, angles);
  build_weight_of(&g, "sines", numbers, 2, angles);
  build_initializer(&g, "one", WEFT_I64, 0, NULL, &one, sizeof one);
  build_node(&g, "Shape", "mask", "shape", NULL);
  build_node(&g, "Gather", "shape one", "length", NULL);
  put_int(&to, "to", WEFT_I32);
  build_node(&g, "Cast", "length", "total", &to);
  build_node(&g, "Gather", "table ids", "x0", NULL);
  for (int l = 0; l < layers; l++) {
    layer_weight(&g, l, "g#", ALL, 0);
    layer_weight(&g, l, "f#", ALL, 0);
    layer_norm(&g, l, "x# g#", "n#");
    build_attending(&g, l);
    layer_norm(&g, l, "r# f#", "m#");
    build_forward(&g, l);
  }
  snprintf(last, sizeof last, "x%d", layers);
  build_node(&g, "Identity", last, "y", NULL);
  build_value_of(&g, 11, "ids", WEFT_I64, "batch,tokens");
  build_value_of(&g, 11, "mask", WEFT_I64, "batch,all");
  build_value_of(&g, 11, "last", WEFT_I32, "batch");
  build_value_of(&g, 12, "y", numbers, "batch,tokens,64");
  proto model = build_model(&g);
  proto_text(&opset, 1, "com.microsoft");
  proto_varint(&opset, 2, 1);
  proto_add(&model, 8, &opset);
  return model;
}

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct llama {
  gpu_rig rig;
  weft_gpu_null_counts counts;
  proto file;
  int layers;
  weft_tensor *past[2 * LAYERS_MAX]; /* k and v of each layer */
  int64_t rows;                      /* of these */
  char names[4 * LAYERS_MAX][16];
} llama;

static void open_llama(llama *m, int layers, const char *disabled) {
  gpu_rig *rig = &m->rig;
  weft_gpu_driver *driver;
  *m = (llama){.layers = layers, .file = build_llama(layers)};
  weft_session_options options = weft_session_options_default();
  options.disabled_passes = disabled;
  CHECK_OK(rig_open_runtime(rig), &rig->error);
  CHECK_OK(weft_gpu_null_open(&rig->runtime->heap, NULL, &m->counts, &driver, &rig->error),
           &rig->error);
  CHECK_OK(weft_gpu_open_driver(&rig->runtime->heap, driver, &rig->gpu, &rig->error), &rig->error);
  CHECK_OK(rig_open_session(rig, &m->file, &options), &rig->error);
  static const int64_t none[] = {1, GROUPS, 0, SIZE};
  for (int i = 0; i < 2 * layers; i++)
    CHECK_OK(weft_tensor_open(rig->runtime, numbers, none, 4, &m->past[i], &rig->error),
             &rig->error);
}

static void close_llama(llama *m) {
  for (int i = 0; i < 2 * m->layers; i++) weft_tensor_close(&m->past[i]);
  rig_close(&m->rig);
  CHECK_INT(m->rig.blocks, 0);
  proto_free(&m->file);
}

/* The dispatches of a run of so many tokens. */
static uint64_t step(llama *m, int64_t tokens) {
  static int64_t ids[1024], mask[1024];
  gpu_rig *rig = &m->rig;
  int32_t last = (int32_t)(m->rows + tokens - 1);
  int64_t all = m->rows + tokens, one = 1;
  weft_binding inputs[3 + 2 * LAYERS_MAX] = {{"ids", NULL}, {"mask", NULL}, {"last", NULL}};
  weft_binding outputs[1 + 2 * LAYERS_MAX] = {{"y", NULL}};
  CHECK_OK(weft_tensor_wrap(rig->runtime, WEFT_I64, (int64_t[]){1, tokens}, 2, ids, sizeof ids,
                            &inputs[0].tensor, &rig->error),
           &rig->error);
  CHECK_OK(weft_tensor_wrap(rig->runtime, WEFT_I64, (int64_t[]){1, all}, 2, mask, sizeof mask,
                            &inputs[1].tensor, &rig->error),
           &rig->error);
  CHECK_OK(weft_tensor_wrap(rig->runtime, WEFT_I32, &one, 1, &last, sizeof last, &inputs[2].tensor,
                            &rig->error),
           &rig->error);
  for (int i = 0; i < 2 * m->layers; i++) {
    snprintf(m->names[2 * i], 16, "past_%c%d", "kv"[i % 2], i / 2);
    snprintf(m->names[2 * i + 1], 16, "present_%c%d", "kv"[i % 2], i / 2);
    inputs[3 + i] = (weft_binding){m->names[2 * i], m->past[i]};
    outputs[1 + i] = (weft_binding){m->names[2 * i + 1], NULL};
  }
  uint64_t before = m->counts.dispatches;
  size_t caches = 2 * (size_t)m->layers;
  weft_status status =
      weft_session_run(rig->session, NULL, inputs, 3 + caches, outputs, 1 + caches, &rig->error);
  CHECK_OK(rig_finish(rig, status), &rig->error);
  for (int i = 0; i < 2 * m->layers; i++) {
    weft_tensor *share = NULL;
    CHECK_OK(weft_tensor_share(outputs[1 + i].tensor, &share, &rig->error), &rig->error);
    weft_tensor_close(&m->past[i]);
    m->past[i] = share;
  }
  for (int i = 0; i < 3; i++) weft_tensor_close(&inputs[i].tensor);
  m->rows = all;
  return m->counts.dispatches - before;
}

/* Of the token after so many, without what a model has once. */
static uint64_t dispatches_of_a_layer(int64_t prompt, const char *disabled) {
  uint64_t counts[2] = {0};
  for (int i = 0; i < 2; i++) {
    llama m;
    open_llama(&m, 2 + 2 * i, disabled);
    (void)step(&m, prompt);
    for (int token = 0; token < 3; token++) counts[i] = step(&m, 1);
    close_llama(&m);
  }
  return (counts[1] - counts[0]) / 2;
}

static void test_of_a_token(void) {
  CHECK_INT(dispatches_of_a_layer(5, NULL), DISPATCHES_OF_A_LAYER);
}

static void test_f16(void) {
  numbers = WEFT_F16;
  CHECK_INT(dispatches_of_a_layer(5, NULL), DISPATCHES_OF_A_LAYER);
  CHECK_INT(dispatches_of_a_layer(600, NULL), DISPATCHES_OF_A_LONG_PAST);
}

static void test_of_a_long_past(void) {
  CHECK_INT(dispatches_of_a_layer(600, NULL), DISPATCHES_OF_A_LONG_PAST);
}

/* Rotary of q and of k, two appends and attention, each by itself. */
static void test_rewrite_off(void) {
  CHECK_INT(dispatches_of_a_layer(5, "fuse_cached"), DISPATCHES_OF_A_LAYER + 4);
}

/* The kernels of a text are asked for while weights are packed: for the layouts that these get. */
static void test_kernels_are_foreseen(void) {
  llama m;
  open_llama(&m, 2, NULL);
  uint64_t kernels = m.counts.pipelines;
  CHECK(kernels > 5);
  (void)step(&m, WEFT_LONG_EXTENT);
  CHECK_INT(m.counts.pipelines, kernels);
  (void)step(&m, 1);
  CHECK(m.counts.pipelines > kernels); /* gemv */
  close_llama(&m);
}

int main(void) {
  numbers = WEFT_F32;
  CHECK_RUN(test_kernels_are_foreseen);
  CHECK_RUN(test_of_a_token);
  CHECK_RUN(test_of_a_long_past);
  CHECK_RUN(test_rewrite_off);
  CHECK_RUN(test_f16);
  return check_result();
}
