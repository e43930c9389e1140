/* expression.c - see expression.h. */
#include "gpu/expression.h"

#include "gpu/shader.h"

weft_status weft_wgsl_expression(const weft_expr *expr, struct weft_text *text, weft_error *error) {
  (void)expr, (void)text;
  return weft_fail(error, WEFT_UNSUPPORTED, "expressions on the GPU");
}

bool weft_shader_has_expr(const weft_expr *expr) {
  (void)expr;
  return false;
}
