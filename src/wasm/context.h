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
} web_context;

/* warm_up.c */
void weft_warm_up(weft_runtime *runtime);

#endif
