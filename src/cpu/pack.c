/* pack.c - weights into the layout that the CPU's kernels read: f32 here, fewer bits in
 * pack_codes.c. The source is read in pieces, so that a weight that still lies in its file is never
 * in memory twice. */
#include "cpu/codes.h"

#define PIECE_BYTES (1u << 20)

uint64_t weft_cpu_panel_elements(const weft_kernels *kernels, uint64_t k, uint64_t n) {
  return (n + kernels->gemm_columns - 1) / kernels->gemm_columns * kernels->gemm_columns * k;
}

/* B [matrices][k][n], packed one matrix after the other. */
typedef struct packing {
  const weft_kernels *kernels;
  const weft_buffer *from;
  uint64_t matrices, k, n;
  float *to;
} packing;

/* Rows [row, row + count) of a matrix, which lie at `rows`, into its panels. */
static void pack_rows(const packing *job, float *matrix, const float *rows, uint64_t row,
                      uint64_t count) {
  uint64_t columns = job->kernels->gemm_columns;
  for (uint64_t column = 0; column < job->n; column += columns)
    job->kernels->gemm_pack_f32((size_t)count, (size_t)weft_min_u64(columns, job->n - column),
                                rows + column, (ptrdiff_t)job->n, 1,
                                matrix + column * job->k + row * columns);
}

static void pack_from_memory(const packing *job) {
  const float *from = (const float *)(const void *)job->from->data;
  for (uint64_t i = 0; i < job->matrices; i++)
    pack_rows(job, job->to + i * weft_cpu_panel_elements(job->kernels, job->k, job->n),
              from + i * job->k * job->n, 0, job->k);
}

static weft_status pack_pieces(const packing *job, float *piece, uint64_t piece_rows,
                               weft_error *error) {
  uint64_t row_bytes = job->n * sizeof(float);
  for (uint64_t i = 0; i < job->matrices; i++)
    for (uint64_t row = 0, count; row < job->k; row += count) {
      count = weft_min_u64(piece_rows, job->k - row);
      WEFT_TRY(weft_buffer_read(job->from, (i * job->k + row) * row_bytes, count * row_bytes, piece,
                                error));
      pack_rows(job, job->to + i * weft_cpu_panel_elements(job->kernels, job->k, job->n), piece,
                row, count);
    }
  return WEFT_OK;
}

static weft_status pack_all(const packing *job, weft_heap *heap, weft_error *error) {
  /* Bytes of a file may lie at odd addresses. */
  if (job->from->data != NULL && (uintptr_t)job->from->data % sizeof(float) == 0) {
    pack_from_memory(job);
    return WEFT_OK;
  }
  uint64_t row_bytes = job->n * sizeof(float);
  uint64_t piece_rows = weft_min_u64(job->k, 1 + PIECE_BYTES / row_bytes);
  uint64_t bytes = piece_rows * row_bytes;
  float *piece = weft_heap_allocate(heap, bytes);
  if (piece == NULL) return weft_heap_fail(heap, bytes, "packing a weight", error);
  weft_status status = pack_pieces(job, piece, piece_rows, error);
  weft_heap_release(heap, piece, bytes);
  return status;
}

/* Padding a narrow matrix to whole panels would cost more memory than it saves time. */
static bool worth_packing(const weft_kernels *kernels, const weft_value *value) {
  const weft_shape *shape = &value->shape;
  if (value->dtype != WEFT_F32 || !weft_shape_is_fixed(shape) || shape->rank < 2) return false;
  return shape->dims[shape->rank - 2] > 0 &&
         shape->dims[shape->rank - 1] >= (weft_dim)(kernels->gemm_columns / 2);
}

weft_status weft_cpu_pack(const weft_device *device, const weft_graph *graph, const weft_node *node,
                          uint32_t input, weft_heap *heap, weft_buffer **out, weft_layout *layout,
                          weft_error *error) {
  const weft_cpu *cpu = (const weft_cpu *)(const void *)device;
  *out = NULL;
  if (node->op != WEFT_OP_MATMUL || input != 1) return WEFT_OK;
  weft_weight_list weight;
  if (weft_weight_find(graph, node->inputs[input], &weight)) {
    *layout = WEFT_LAYOUT_CODES;
    return weft_cpu_pack_weight(cpu, graph, &weight, heap, out, error);
  }
  const weft_value *value = &graph->values[node->inputs[input]];
  if (value->kind != WEFT_VALUE_CONSTANT || value->layout != WEFT_LAYOUT_DENSE ||
      !worth_packing(cpu->kernels, value))
    return WEFT_OK;
  const weft_shape *shape = &value->shape;
  packing job = {.kernels = cpu->kernels,
                 .from = value->data,
                 .matrices = weft_extent(shape->dims, 0, shape->rank - 2),
                 .k = (uint64_t)shape->dims[shape->rank - 2],
                 .n = (uint64_t)shape->dims[shape->rank - 1]};
  uint64_t bytes =
      job.matrices * weft_cpu_panel_elements(cpu->kernels, job.k, job.n) * sizeof(float);
  weft_buffer *packed = weft_buffer_new(heap, bytes);
  if (packed == NULL) return weft_heap_fail(heap, bytes, "a packed weight", error);
  job.to = (float *)(void *)packed->data;
  weft_status status = pack_all(&job, heap, error);
  if (status != WEFT_OK) {
    weft_buffer_release(&packed);
    return status;
  }
  *out = packed;
  *layout = WEFT_LAYOUT_PANELS;
  return WEFT_OK;
}
