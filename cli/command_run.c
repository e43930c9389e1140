/* command_run.c - `weft run`: arrays in, arrays out. */
#include <stdlib.h>

#include "bindings.h"
#include "npy.h"

typedef struct run_options {
  common_options common;
  input_options inputs;
  option_list outputs; /* "NAME=FILE.npy" */
  const char *archive;
  uint64_t time_limit_ms;
} run_options;

static bool save_output(const char *pair, const bindings *b) {
  for (size_t i = 0; i < b->output_count; i++) {
    const char *path = option_value_of(pair, b->outputs[i].name);
    if (path) return npy_write(path, b->outputs[i].tensor);
  }
  fprintf(stderr, "weft: --output %s: the model has no such output\n", pair);
  return false;
}

static bool save_archive(const char *path, const bindings *b) {
  const char **names = calloc(b->output_count + 1, sizeof *names);
  weft_tensor **tensors = calloc(b->output_count + 1, sizeof *tensors);
  for (size_t i = 0; i < b->output_count && names && tensors; i++) {
    names[i] = b->outputs[i].name;
    tensors[i] = b->outputs[i].tensor;
  }
  bool ok = names && tensors && npz_write(path, names, tensors, b->output_count);
  free(names);
  free(tensors);
  return ok;
}

static void print_outputs(const bindings *b, double ms) {
  for (size_t i = 0; i < b->output_count; i++) {
    const weft_tensor *tensor = b->outputs[i].tensor;
    printf("%s: %s", b->outputs[i].name, weft_dtype_name(weft_tensor_dtype(tensor)));
    json_dims(stdout, weft_tensor_dims(tensor), weft_tensor_rank(tensor));
    printf("\n");
  }
  printf("%.3f ms\n", ms);
}

static void print_json(const bindings *b, double ms) {
  printf("{\"ms\":%.3f,\"outputs\":[", ms);
  for (size_t i = 0; i < b->output_count; i++) {
    const weft_tensor *tensor = b->outputs[i].tensor;
    printf("%s{\"name\":", i ? "," : "");
    json_text(stdout, b->outputs[i].name);
    printf(",\"type\":\"%s\",\"dims\":", weft_dtype_name(weft_tensor_dtype(tensor)));
    json_dims(stdout, weft_tensor_dims(tensor), weft_tensor_rank(tensor));
    printf("}");
  }
  printf("]}\n");
}

static int run(loaded_model *loaded, void *user) {
  run_options *options = user;
  bindings b = {0};
  bool ok = bindings_open(loaded, &options->common, &options->inputs, &b);
  double start = now_ms();
  ok = ok && bindings_run(loaded, &b, options->time_limit_ms);
  double ms = now_ms() - start;
  if (ok) (options->common.json ? print_json : print_outputs)(&b, ms);
  for (size_t i = 0; i < options->outputs.count && ok; i++)
    ok = save_output(options->outputs.items[i], &b);
  if (ok && options->archive) ok = save_archive(options->archive, &b);
  bindings_close(&b);
  return ok ? EXIT_OK : EXIT_FAILED;
}

int command_run(int argc, char **argv) {
  run_options options = {0};
  const option table[] = {
      INPUT_OPTIONS(&options.inputs),
      {"output", "NAME=FILE", "write an output to a .npy file", OPTION_LIST, &options.outputs},
      {"outputs", "FILE", "write all outputs to an .npz file", OPTION_TEXT, &options.archive},
      {"time-limit", "MS", "stop after this many milliseconds", OPTION_NUMBER,
       &options.time_limit_ms},
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {"run MODEL [OPTIONS]",
                                 "Runs a model once. Inputs that are not given are made at random.",
                                 table,
                                 &options.common,
                                 true,
                                 false,
                                 run,
                                 &options};
  return with_model(&command, argc, argv);
}
