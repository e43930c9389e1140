/* warm_up.c - lets the engine optimise the hottest loops before the first run. V8 compiles a
 * function for the first time in one pass, and again, optimised, on a thread of its own after about
 * 50,000 rounds of its loop; what runs meanwhile takes two to ten times as long. So these kernels
 * go through the rounds on a few zeros, which takes about 1 ms for each, and the engine compiles
 * them meanwhile: those of nearly every model when the core is made, before weights are read, those
 * for codes when a session that has such weights begins to pack them.
 * docs/notes/2026-11-21-start-up.md has the figures. */
#include "format/model.h"
#include "kernels/kernels.h"
#include "wasm/context.h"

enum { CALLS = 140, ATTENTION_CALLS = 5 };
enum { DEPTH = 512, PANELS = 4, BLOCK = 32, KEYS = 128, HEAD_SIZE = 64 };

#define ZEROS_BYTES  (64u << 10) /* the largest operand: PANELS panels of 16 columns of f32 */
#define OUTPUT_BYTES (64u << 10)

typedef struct warm_up {
  const weft_kernels *kernels;
  const void *zeros;
  float *output, *scratch;
} warm_up;

/* ---- kernels --------------------------------------------------------------------------------- */

/* Tiles by rows: products of many rows are cut into the largest two, those of one row take several
 * panels at once. */
static void warm_floats(const warm_up *w, uint32_t bits) {
  (void)bits;
  const weft_kernels *kernels = w->kernels;
  const size_t rows[] = {kernels->gemm_rows, kernels->gemm_rows - 1, 1};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    weft_gemm_f32_args args = {.m = rows[i],
                               .n = (rows[i] == 1 ? PANELS : 1) * kernels->gemm_columns,
                               .k = DEPTH,
                               .a = w->zeros,
                               .lda = DEPTH,
                               .b = w->zeros,
                               .b_panel = DEPTH * kernels->gemm_columns,
                               .c = w->output,
                               .ldc = PANELS * kernels->gemm_columns};
    for (int call = 0; call < CALLS; call++) kernels->gemm_f32(&args);
  }
}

static void warm_codes(const warm_up *w, uint32_t bits) {
  const weft_kernels *kernels = w->kernels;
  const weft_code_format format = {.bits = bits, .zero = 1u << (bits - 1), .block = BLOCK};
  const weft_quantize_rows_args rounding = {
      .format = format, .m = 1, .k = DEPTH, .x = w->zeros, .ldx = DEPTH, .to = w->output};
  for (int call = 0; call < CALLS; call++) kernels->quantize_rows(&rounding);
  const size_t rows[] = {kernels->codes_rows, 1};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    weft_gemm_codes_args args = {.format = format,
                                 .m = rows[i],
                                 .n = (rows[i] == 1 ? PANELS : 1) * kernels->gemm_columns,
                                 .k = DEPTH,
                                 .a = w->zeros,
                                 .b = w->zeros,
                                 .b_panel = kernels->codes_panel_bytes(format, DEPTH),
                                 .c = w->output,
                                 .ldc = PANELS * kernels->gemm_columns};
    for (int call = 0; call < CALLS; call++) kernels->gemm_codes(&args);
  }
}

static weft_attention_f32_args attention_of(const warm_up *w) {
  return (weft_attention_f32_args){.heads = 1,
                                   .queries = w->kernels->attention_rows,
                                   .keys = KEYS,
                                   .head_size = HEAD_SIZE,
                                   .value_size = HEAD_SIZE,
                                   .q = w->zeros,
                                   .k = w->zeros,
                                   .v = w->zeros,
                                   .q_stride = HEAD_SIZE,
                                   .k_stride = HEAD_SIZE,
                                   .v_stride = HEAD_SIZE,
                                   .scale = 1,
                                   .out = w->output,
                                   .out_stride = HEAD_SIZE,
                                   .scratch = w->scratch};
}

static void warm_attention(const warm_up *w, uint32_t bits) {
  (void)bits;
  const weft_attention_f32_args args = attention_of(w);
  for (int call = 0; call < ATTENTION_CALLS; call++) w->kernels->attention_f32(&args);
}

/* ---- models ---------------------------------------------------------------------------------- */

/* Kernels as a set: 1 << N is those for codes of N bits. */
enum { FLOATS = 1, ATTENTION = 2, CODES = 1 << 2 | 1 << 4 | 1 << 8 };

static const struct {
  uint32_t set, bits;
  void (*warm)(const warm_up *w, uint32_t bits);
} table[] = {{FLOATS, 0, warm_floats},
             {ATTENTION, 0, warm_attention},
             {1 << 2, 2, warm_codes},
             {1 << 4, 4, warm_codes},
             {1 << 8, 8, warm_codes}};

/* Those for codes that a model has. */
static uint32_t find_codes(const weft_graph *graph) {
  uint32_t set = 0;
  for (uint32_t i = 0; i < graph->node_count; i++) {
    const weft_node *node = &graph->nodes[i];
    if (node->op == WEFT_OP_DEQUANTIZE && node->attributes.dequantize.bits <= 8)
      set |= 1u << node->attributes.dequantize.bits;
    if (node->op == WEFT_OP_MATMUL_INTEGER) set |= 1u << 8;
  }
  return set & CODES;
}

void weft_warm_up(web_context *context, const weft_model *model) {
  weft_heap *heap = &context->runtime->heap;
  uint32_t set = model != NULL ? find_codes(&model->file.graph) : FLOATS | ATTENTION;
  set &= ~context->warm;
  warm_up w = {.kernels = weft_kernels_find(NULL, weft_host_cpu_features())};
  weft_attention_f32_args attention = attention_of(&w);
  uint64_t bytes =
      ZEROS_BYTES + OUTPUT_BYTES + w.kernels->attention_scratch(&attention) * sizeof(float);
  uint8_t *memory = set != 0 ? weft_heap_allocate_zeroed(heap, bytes) : NULL;
  if (memory == NULL) return; /* the first run is slower then */
  w.zeros = memory;
  w.output = (float *)(void *)(memory + ZEROS_BYTES);
  w.scratch = (float *)(void *)(memory + ZEROS_BYTES + OUTPUT_BYTES);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (set & table[i].set) table[i].warm(&w, table[i].bits);
  context->warm |= set;
  weft_heap_release(heap, memory, bytes);
}
