/* compose.h - builds one expression out of several: what fuse_maps and fuse_epilogues share. */
#ifndef WEFT_OPT_COMPOSE_H
#define WEFT_OPT_COMPOSE_H

#include "graph/graph.h"

/* An expression in the making. An operand is an input's number, or WEFT_EXPR_INPUTS_MAX + an
 * instruction's. */
typedef struct weft_composer {
  const weft_graph *graph;
  weft_value_id
      inputs[WEFT_EXPR_INPUTS_MAX]; /* NONE: bound by the node itself (a matmul's product) */
  uint8_t dtypes[WEFT_EXPR_INPUTS_MAX];
  weft_instruction code[WEFT_EXPR_CODE_MAX];
  uint32_t input_count, code_count;
  uint32_t result; /* operand */
  bool full;       /* a limit was met: throw it away */
} weft_composer;

void weft_compose_start(weft_composer *composer, const weft_graph *graph);
/* The operand for a value: an input (each value once). */
uint32_t weft_compose_input(weft_composer *composer, weft_value_id value, weft_dtype dtype);
/* The operand for a value: an immediate if it is a constant of one element with rank <= rank_max,
 * else an input. */
uint32_t weft_compose_value(weft_composer *composer, weft_value_id value, int32_t rank_max);
/* Appends `expr` with its inputs standing for `operands`; its value becomes composer->result. */
void weft_compose_append(weft_composer *composer, const weft_expr *expr, const uint32_t *operands);
/* The finished expression, in the graph's arena. */
weft_status weft_compose_finish(const weft_composer *composer, weft_graph *graph, weft_expr *out,
                                weft_error *error);

/* How many nodes (and region outputs) use each value, each node counted once. */
weft_status weft_count_user_nodes(const weft_graph *graph, weft_arena *arena, uint32_t **out,
                                  weft_error *error);

#endif
