/* codes.h - weights of few bits, and of 16-bit floats, in panels (WEFT_LAYOUT_CODES): a header that
 * says what they are, then the panels one after the other. pack_codes.c makes them; matmul.c reads
 * the header, gemm.c and gemm_codes.c the panels. */
#ifndef WEFT_CPU_CODES_H
#define WEFT_CPU_CODES_H

#include "cpu/internal.h"
#include "opt/weight.h"

typedef enum weft_packed_kind {
  WEFT_PACKED_CODES, /* as the kernel pack_codes lays them */
  WEFT_PACKED_F16,   /* [k][gemm_columns], as gemm_f32 reads them but for the type */
  WEFT_PACKED_BF16,
} weft_packed_kind;

/* At the start of the buffer; the panels begin WEFT_ALIGNMENT bytes further. */
typedef struct weft_packed {
  weft_packed_kind kind;
  weft_code_format format; /* of codes */
  uint64_t k, n, panels, panel_bytes;
} weft_packed;
_Static_assert(sizeof(weft_packed) <= WEFT_ALIGNMENT, "panels are aligned");

static inline const uint8_t *weft_packed_panel(const weft_packed *packed, uint64_t panel) {
  return (const uint8_t *)packed + WEFT_ALIGNMENT + panel * packed->panel_bytes;
}

/* Reads the weight from its source in pieces; it is never in memory as numbers. */
weft_status weft_cpu_pack_weight(const weft_cpu *cpu, const weft_graph *graph,
                                 const weft_weight_list *weight, weft_heap *heap, weft_buffer **out,
                                 weft_error *error);

#endif
