/* expression.h - from an elementwise expression to WGSL. */
#ifndef WEFT_GPU_EXPRESSION_H
#define WEFT_GPU_EXPRESSION_H

#include "graph/expr.h"

struct weft_text;
/* Writes `fn expression(x0: f32, x1: f32, ...) -> f32` and what it calls, and expression4, the same
 * on vec4s as accessors give and take them (bool: u32). Types: f32 for floats,
 * i32, u32, bool. WEFT_UNSUPPORTED names the instruction or type that there is no code for. */
weft_status weft_wgsl_expression(const weft_expr *expr, struct weft_text *text, weft_error *error);

#endif
