/* choose.c - the choice between CPU and GPU (weft_chooser) as calls with numbers; web/src/choose.ts
 * is the other side. */
#include "base/memory.h"
#include "wasm/context.h"

typedef struct web_chooser {
  weft_chooser *chooser;
  weft_choice choice; /* once it is run */
} web_chooser;

EXPORT(web_chooser_close) void web_chooser_close(web_context *context, web_chooser *chooser) {
  if (!chooser) return;
  weft_chooser_close(&chooser->chooser);
  weft_heap_release(&context->runtime->heap, chooser, sizeof *chooser);
}

/* `disabled`, `threads`, `activations`: as for the session. */
EXPORT(web_chooser_open)
web_chooser *web_chooser_open(web_context *context, weft_model *model, weft_gpu *gpu,
                              const char *disabled, uint32_t threads, int activations) {
  weft_heap *heap = &context->runtime->heap;
  weft_session_options options = weft_session_options_default();
  options.gpu = gpu;
  options.disabled_passes = disabled;
  options.thread_count = threads;
  options.activations = (weft_activations)activations;
  web_chooser *chooser = weft_heap_allocate_zeroed(heap, sizeof *chooser);
  if (!chooser) {
    weft_heap_fail(heap, sizeof *chooser, "a choice", &context->error);
    return NULL;
  }
  weft_warm_up(context, model); /* else the CPU would be timed on code not yet optimised */
  if (weft_chooser_open(model, &options, &chooser->chooser, &context->error) == WEFT_OK)
    return chooser;
  web_chooser_close(context, chooser);
  return NULL;
}

EXPORT(web_chooser_run) int web_chooser_run(web_chooser *chooser) {
  return weft_chooser_run(chooser->chooser, &chooser->choice);
}
EXPORT(web_chooser_on_gpu) int web_chooser_on_gpu(const web_chooser *chooser) {
  return chooser->choice.on_gpu;
}
EXPORT(web_chooser_why) const char *web_chooser_why(const web_chooser *chooser) {
  return chooser->choice.why;
}
