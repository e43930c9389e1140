/* matmul_merge.c - steps that gemv.wgsl does together with the product that reads them: an RMS
 * norm, and a second product of the same row (silu(x gate) * (x up)). With many rows a step of its
 * own is as good: it then reads and writes far less than the product does. */
#include "cpu/internal.h"
#include "gpu/matmul.h"

/* ---- rows of codes --------------------------------------------------------------------------- */

/* Weights with scales for whole columns meet rows that are rounded in blocks of about this length,
 * as on the CPU. */
#define ROUND_BLOCK_MAX  256
#define ROUND_BLOCK_STEP 32

/* A lane rounds a whole block: of longer ones there are so few that a workgroup would wait. */
#define INSIDE_BLOCK_MAX 128
/* Of the smallest variant; and bytes of workgroup memory that it takes for a row at most. */
#define THREADS_MIN 64
#define SUMS_BYTES  (THREADS_MIN * 36)

static uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

static bool may_round(const weft_gpu_device *gpu, const weft_node *node,
                      const weft_gpu_format *format) {
  const weft_gpu_facts *facts = gpu->gpu->facts;
  if (format->bits >= 16 || !facts->dot8) return false;
  if (gpu->activations != WEFT_ACTIVATIONS_AUTO) return gpu->activations == WEFT_ACTIVATIONS_INT8;
  /* A CPU that plays GPU is faster in floats. */
  return node->attributes.matmul.int8_rows && !weft_gpu_cpu_lanes(facts);
}

weft_rounding weft_matmul_rounding(const weft_gpu_device *gpu, const weft_node *node,
                                   const weft_gpu_format *format, uint64_t m, uint64_t k) {
  if (k == 0 || !may_round(gpu, node, format)) return (weft_rounding){0};
  uint64_t block = format->block;
  if (block == 0)
    block = weft_align_up(divide_up(k, divide_up(k, ROUND_BLOCK_MAX)), ROUND_BLOCK_STEP);
  weft_rounding rounding = {.block = (uint32_t)block, .blocks = (uint32_t)divide_up(k, block)};
  uint64_t row_bytes = rounding.blocks * (block + sizeof(float));
  if (m <= WEFT_MATMUL_FEW_ROWS && block <= INSIDE_BLOCK_MAX &&
      m * (row_bytes + SUMS_BYTES) <= gpu->gpu->facts->workgroup_storage)
    rounding.row_bytes = (uint32_t)(m * row_bytes);
  return rounding;
}

/* ---- merging --------------------------------------------------------------------------------- */

uint32_t weft_matmul_bindings(const weft_gpu_format *format, uint32_t extras, bool norm,
                              bool paired) {
  uint32_t weight = 1; /* its codes, scales and zeros each */
  if (format && format->bits < 16) weight += format->float_zeros || format->byte_zeros ? 2 : 1;
  return 2 + weight + extras + (norm ? 1 : 0) + (paired ? weight - 1 : 0);
}

/* What `into` does already. */
static bool has_part(const weft_step *into, weft_op op) {
  for (uint32_t i = 0; i < into->part_count; i++)
    if (into->parts[i].step->node->op == op) return true;
  return false;
}

/* Elements in fours from the first on. */
static bool is_in_fours(const weft_array *array) {
  return weft_array_is_dense(array) && weft_gpu_offset(array) % 4 == 0;
}

/* Few dense rows by a packed weight, done by one dispatch of gemv even with one more part. */
static bool takes_parts(const weft_gpu_device *gpu, const weft_step *into, bool norm, bool paired) {
  const weft_array *a = into->inputs[0], *b = into->inputs[1], *y = into->outputs[0];
  if (weft_gpu_cpu_lanes(gpu->gpu->facts)) return false; /* which does without gemv */
  if (b->layout < WEFT_LAYOUT_GPU || b->rank != 2 || a->rank < 1 || !weft_array_is_dense(a))
    return false;
  uint64_t k = (uint64_t)a->dims[a->rank - 1], n = (uint64_t)b->dims[1];
  if (k == 0 || k % 4 != 0 || a->elements == 0 || a->elements > WEFT_MATMUL_FEW_ROWS * k)
    return false;
  if (y->dtype == WEFT_F16 && (n % 4 != 0 || weft_gpu_offset(y) % 4 != 0)) return false;
  weft_gpu_format format = weft_gpu_format_of(b->layout);
  weft_rounding rounding = weft_matmul_rounding(gpu, into->node, &format, a->elements / k, k);
  if (rounding.blocks > 0 && rounding.row_bytes == 0) return false;
  uint64_t staged = norm && rounding.blocks == 0 ? a->elements * sizeof(float) : 0;
  if (staged + a->elements / k * SUMS_BYTES > gpu->gpu->facts->workgroup_storage) return false;
  return weft_matmul_bindings(&format, into->input_count - 2, norm, paired) <=
         WEFT_GPU_BINDINGS_MAX;
}

static bool merges_norm(const weft_gpu_device *gpu, const weft_step *norm, const weft_step *into) {
  const weft_array *x = norm->inputs[0], *scale = norm->inputs[1], *a = into->inputs[0];
  int32_t axis = weft_axis(norm->node->attributes.norm.axis, x->rank);
  if (norm->node->attributes.norm.kind != WEFT_NORM_RMS || weft_step_input(norm, 2)) return false;
  if (!is_in_fours(x) || !is_in_fours(scale) || a->offset != norm->outputs[0]->offset ||
      a->elements != x->elements || a->dims[a->rank - 1] != (int64_t)scale->elements ||
      weft_extent(x->dims, axis, x->rank) != scale->elements)
    return false;
  return takes_parts(gpu, into, true, has_part(into, WEFT_OP_MATMUL));
}

static bool same_shape(const weft_array *a, const weft_array *b) {
  bool same = a->rank == b->rank;
  for (int32_t i = 0; same && i < a->rank; i++) same = a->dims[i] == b->dims[i];
  return same;
}

static bool merges_product(const weft_gpu_device *gpu, const weft_step *pair, const weft_step *into,
                           uint32_t input) {
  const weft_array *b = pair->inputs[1], *c = into->inputs[1], *product = into->inputs[input];
  if (pair->node->attributes.matmul.expr.code_count > 0 || pair->inputs[0] != into->inputs[0] ||
      b->layout != c->layout || !same_shape(b, c) ||
      pair->node->attributes.matmul.int8_rows != into->node->attributes.matmul.int8_rows)
    return false;
  if (!weft_array_is_dense(product) || !same_shape(product, into->outputs[0])) return false;
  return takes_parts(gpu, into, has_part(into, WEFT_OP_NORM), true);
}

bool weft_gpu_merges_matmul(const weft_gpu_device *gpu, const weft_step *step,
                            const weft_step *into, uint32_t input) {
  if (has_part(into, step->node->op)) return false;
  if (step->node->op == WEFT_OP_NORM) return input == 0 && merges_norm(gpu, step, into);
  return step->node->op == WEFT_OP_MATMUL && input >= 2 && merges_product(gpu, step, into, input);
}
