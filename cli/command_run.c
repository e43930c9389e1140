/* command_run.c - `weft run`: arrays in, arrays out. */
#include "bindings.h"
#include "npy.h"

typedef struct run_options {
  common_options common;
  input_options inputs;
  option_list outputs; /* "NAME=FILE.npy" */
  const char *archive;
  uint64_t time_limit_ms;
} run_options;

static bool save(const loaded_model *loaded, const run_options *options, const bindings *b) {
  bool ok = true, saves = options->archive || options->outputs.count > 0;
  for (size_t i = 0; i < b->output_count && ok && saves; i++)
    ok = session_fetch(loaded, b->outputs[i].tensor);
  for (size_t i = 0; i < b->output_count && ok; i++) {
    const char *path = option_list_find(&options->outputs, b->outputs[i].name);
    if (path) ok = npy_write(path, b->outputs[i].tensor);
  }
  return ok && (!options->archive || npz_write(options->archive, b->outputs, b->output_count));
}

/* One line, or one JSON object, for each output. */
static void print_outputs(const bindings *b, bool json) {
  for (size_t i = 0; i < b->output_count; i++) {
    const weft_tensor *tensor = b->outputs[i].tensor;
    if (json) printf("%s{\"name\":", i ? "," : "");
    print_text(b->outputs[i].name, json);
    printf(json ? ",\"type\":\"%s\",\"dims\":" : ": %s",
           weft_dtype_name(weft_tensor_dtype(tensor)));
    json_dims(weft_tensor_dims(tensor), weft_tensor_rank(tensor));
    printf(json ? "}" : "\n");
  }
}

static bool run(loaded_model *loaded, void *user) {
  run_options *options = user;
  bool json = options->common.json;
  bindings b = {0};
  bool ok = check_output_names(loaded->model, &options->outputs) &&
            bindings_open(loaded, &options->inputs, &b);
  double start = now_ms();
  ok = ok && bindings_run(loaded, &b, options->time_limit_ms);
  double ms = now_ms() - start;
  ok = ok && save(loaded, options, &b);
  if (ok) {
    if (json) printf("{\"ms\":%.3f,\"outputs\":[", ms);
    print_outputs(&b, json);
    if (json)
      printf("]}\n");
    else
      printf("%.3f ms\n", ms);
  }
  bindings_close(&b);
  return ok;
}

int command_run(int argc, char **argv) {
  run_options options = {0};
  const option table[] = {
      INPUT_OPTIONS(&options.inputs),
      {"output", "NAME=FILE", "write an output to a .npy file", OPTION_PAIRS, &options.outputs},
      {"outputs", "FILE", "write all outputs to an .npz file", OPTION_TEXT, &options.archive},
      {"time-limit", "MS", "stop after this many milliseconds", OPTION_COUNT,
       &options.time_limit_ms},
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {
      .name = "run",
      .usage = "MODEL [OPTIONS]",
      .help =
          "Runs a model once. Inputs that are not given are random: f32 and f64 in [-1, 1), other\n"
          "types 0 or 1.",
      .examples = "  weft run model.onnx --inputs in.npz --outputs out.npz\n"
                  "  weft run model.onnx --input x=x.npy --output y=y.npy\n"
                  "  weft run model.onnx --dim batch=1 --dim sequence=128 --threads 4\n",
      .table = table,
      .common = &options.common,
      .session = true,
      .work = run,
      .options = &options,
  };
  return with_model(&command, argc, argv);
}
