/* weight.h - the right sides of matmuls that are made of constants of few bits: what fold_constants
 * leaves alone, merge_matmuls lays side by side, and a device packs as codes (its pack function, by
 * pack_weights). A weight is one part, or a concat of parts along its columns; a part is
 *
 *   dequantize(constants), or its transpose     codes with scales and zeros
 *   a constant of 16-bit floats, or its cast    floats
 */
#ifndef WEFT_OPT_WEIGHT_H
#define WEFT_OPT_WEIGHT_H

#include "graph/graph.h"

#define WEFT_WEIGHT_PARTS_MAX 16u
/* Scales are for blocks of whole vectors of codes, whose products fit 32 bits. */
#define WEFT_WEIGHT_BLOCK_STEP 16
#define WEFT_WEIGHT_BLOCK_MAX  32768
#define WEFT_WEIGHT_K_MAX      (1u << 24)

typedef struct weft_weight {
  const weft_value *data;      /* codes or floats: [n][k] where transposed, else [k][n] */
  const weft_node *dequantize; /* NULL: floats */
  bool transposed;
  uint64_t k, n;
  uint64_t block; /* of k that shares a scale or zero; 0: all of k */
} weft_weight;

typedef struct weft_weight_list {
  weft_weight parts[WEFT_WEIGHT_PARTS_MAX]; /* of the same k, bits or type, and block */
  uint32_t count;
  uint64_t k, n;
} weft_weight_list;

/* Whether `value` is such a weight, [k, n], of which. */
bool weft_weight_find(const weft_graph *graph, weft_value_id value, weft_weight_list *out);
/* Whether two parts may lie side by side. */
bool weft_weight_is_alike(const weft_weight *a, const weft_weight *b);
/* Whether a parameter of the part, number `input` of its dequantize node, is one number for all. */
bool weft_weight_is_single(const weft_graph *graph, const weft_weight *weight, uint32_t input);
/* Bytes of all its constants. */
uint64_t weft_weight_bytes(const weft_graph *graph, const weft_weight_list *list);

#endif
