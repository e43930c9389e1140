/* host_cost.c - what the runtime itself costs beside the arithmetic: a model of many tiny nodes
 * (see models.py), every node a step of its own, through opening, the first run, which plans, and
 * warm runs. Prints JSON. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "weft/weft.h"

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void check(weft_status status, const weft_error *error) {
  if (status == WEFT_OK) return;
  fprintf(stderr, "host_cost: %s\n", error->message);
  exit(1);
}

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0) return NULL;
  *size = (size_t)ftell(file);
  void *bytes = malloc(*size);
  rewind(file);
  if (bytes && fread(bytes, 1, *size, file) != *size) {
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  return bytes;
}

static double run_us(weft_session *session, weft_tensor *x, const char *output) {
  weft_error error;
  weft_binding in = {"x", x}, out = {output, NULL};
  double start = now_us();
  check(weft_session_run(session, NULL, &in, 1, &out, 1, &error), &error);
  return now_us() - start;
}

int main(int argc, char **argv) {
  weft_source source = {0};
  size_t size = 0;
  source.bytes = argc == 2 ? read_file(argv[1], &size) : NULL;
  source.size = size;
  if (!source.bytes) {
    fprintf(stderr, "usage: host_cost MODEL, one that bench/models.py chain has written\n");
    return 2;
  }
  weft_error error;
  weft_runtime *runtime;
  weft_model *model;
  weft_session *session;
  weft_tensor *x;
  weft_value_info output;
  weft_model_info info;
  double start = now_us();
  check(weft_runtime_open(NULL, &runtime, &error), &error);
  check(weft_model_open(runtime, &source, NULL, &model, &error), &error);
  weft_session_options options = weft_session_options_default();
  options.disabled_passes = "all"; /* else the chain would become a few nodes */
  check(weft_session_open(model, &options, &session, &error), &error);
  double open_us = now_us() - start;
  check(weft_tensor_open(runtime, WEFT_F32, (int64_t[]){4}, 1, &x, &error), &error);
  weft_model_describe(model, &info);
  weft_model_output(model, 0, &output);
  double first_us = run_us(session, x, output.name), warm_us = first_us;
  for (start = now_us(); now_us() - start < 1e6;) {
    double us = run_us(session, x, output.name);
    if (us < warm_us) warm_us = us;
  }
  double nodes = (double)info.node_count;
  printf("{\"nodes\": %.0f, \"open_ms\": %.2f, \"first_run_ms\": %.2f, \"warm_run_us\": %.2f, "
         "\"ns_per_node\": %.1f}\n",
         nodes, open_us * 1e-3, first_us * 1e-3, warm_us, warm_us * 1e3 / nodes);
  weft_tensor_close(&x);
  weft_session_close(&session);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  free((void *)(uintptr_t)source.bytes);
  return 0;
}
