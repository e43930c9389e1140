/* context.h - what one page has one of, for the files that export calls to JavaScript. */
#ifndef WEFT_WASM_CONTEXT_H
#define WEFT_WASM_CONTEXT_H

#include "base/runtime.h"

#define EXPORT(name) __attribute__((export_name(#name), used))

typedef struct web_context {
  weft_runtime *runtime;
  weft_error error;
  char *text; /* the latest description or dump, with a final NUL */
  size_t text_length, text_size;
  uint32_t warm; /* kernels that have been warmed up */
} web_context;

/* warm_up.c: the kernels of most models (NULL), or those for the codes that `model` has. */
void weft_warm_up(web_context *context, const weft_model *model);

#endif
