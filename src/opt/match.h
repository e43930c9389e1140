/* match.h - small questions that patterns ask of a graph. */
#ifndef WEFT_OPT_MATCH_H
#define WEFT_OPT_MATCH_H

#include "graph/graph.h"

/* The node that makes a value, or NULL. */
const weft_node *weft_match_producer(const weft_graph *graph, weft_value_id value);

/* If `value` is made by a map of the one instruction `op`: the node, and its operands as values (an
 * immediate's is WEFT_VALUE_NONE); else NULL. */
const weft_node *weft_match_map(const weft_graph *graph, weft_value_id value, weft_expr_op op,
                                weft_value_id operands[3]);

/* f32 or f16, with which the arithmetic of a node is that of f32: rewrites take both alike, and a
 * rounding to f16 between nodes goes where they become one. */
bool weft_match_is_float(weft_dtype dtype);
/* Where `value` is a cast between these two: what is cast, else `value`. */
weft_value_id weft_match_uncast(const weft_graph *graph, weft_value_id value);

/* If `value` is such a constant of one element, in memory or not: that number. */
bool weft_match_scalar(const weft_graph *graph, weft_value_id value, double *out);
/* `actual` equals `expected` but for rounding in that type. */
bool weft_match_near(double actual, double expected, weft_dtype dtype);

/* If `value` is made by `op` from two values one of which is a scalar constant: the other one, and
 * the number. For MUL and ADD in either order; for SUB, DIV and POW the scalar is the second. */
bool weft_match_with_scalar(const weft_graph *graph, weft_value_id value, weft_expr_op op,
                            weft_value_id *other, double *scalar);

/* A product written out as multiplications and divisions by constants, in any order and grouping.
 */
#define WEFT_MATCH_FACTORS_MAX 8u
#define WEFT_MATCH_LOOKS_MAX   32u /* at values: a file may hold a product of any length */
typedef struct weft_match_product {
  weft_value_id factors[WEFT_MATCH_FACTORS_MAX];
  uint32_t count;
  double scale; /* product of the constant factors */
} weft_match_product;
/* False when `value` is no product, or too long a one. */
bool weft_match_factors(const weft_graph *graph, weft_value_id value, weft_match_product *out);

/* The reduce node of `kind` that makes `value` over the last axes [*axis, rank) of its input,
 * dimensions kept; else NULL. */
const weft_node *weft_match_reduce_last(const weft_graph *graph, weft_value_id value,
                                        weft_reduce_kind kind, int32_t *axis);

/* Turns a node into another op over other inputs; its outputs stay, and attributes are zeroed for
 * the caller to fill. The makers of inputs that nobody needs any more are left to remove_dead. */
weft_status weft_match_rewrite(weft_graph *graph, weft_node *node, weft_op op,
                               const weft_value_id *inputs, uint32_t input_count,
                               weft_error *error);

#endif
