/* command_inspect.c - `weft inspect`: what a model is, and what the runtime makes of it. */
#include "bindings.h"

typedef struct inspect_options {
  common_options common;
  input_options inputs;
  bool graph, plan;
} inspect_options;

static void print_value(const weft_value_info *info, bool json) {
  if (json) {
    printf("{\"name\":");
    json_text(stdout, info->name);
    printf(",\"type\":\"%s\",\"dims\":", weft_dtype_name(info->dtype));
  } else {
    printf("  %s: %s", info->name, weft_dtype_name(info->dtype));
  }
  if (info->rank < 0)
    printf(json ? "null" : "[...]");
  else
    printf("[");
  for (int32_t i = 0; i < info->rank; i++) {
    if (i) printf(",");
    if (info->dims[i] >= 0)
      printf("%lld", (long long)info->dims[i]);
    else if (json)
      json_text(stdout, info->dim_names[i] ? info->dim_names[i] : "?");
    else
      printf("%s", info->dim_names[i] ? info->dim_names[i] : "?");
  }
  if (info->rank >= 0) printf("]");
  printf(json ? "}" : "\n");
}

typedef weft_status value_fn(const weft_model *model, size_t index, weft_value_info *out);

static void print_values(const weft_model *model, const char *title, size_t count, value_fn *get,
                         bool json) {
  if (json)
    printf(",\"%s\":[", title);
  else
    printf("%s\n", title);
  for (size_t i = 0; i < count; i++) {
    weft_value_info info;
    get(model, i, &info);
    if (json && i) printf(",");
    print_value(&info, json);
  }
  if (json) printf("]");
}

static void print_metadata(const weft_model *model, size_t count, bool json) {
  printf(json ? ",\"metadata\":{" : count ? "metadata\n" : "");
  for (size_t i = 0; i < count; i++) {
    const char *key, *value;
    weft_model_metadata(model, i, &key, &value);
    if (!json) {
      printf("  %s: %s\n", key, value);
      continue;
    }
    if (i) printf(",");
    json_text(stdout, key);
    printf(":");
    json_text(stdout, value);
  }
  if (json) printf("}");
}

static int describe(const loaded_model *loaded, bool json) {
  const weft_model *model = loaded->model;
  weft_model_info info;
  weft_model_describe(model, &info);
  if (json) {
    printf("{\"producer\":");
    json_text(stdout, info.producer);
    printf(",\"graph\":");
    json_text(stdout, info.graph_name);
    printf(",\"ir_version\":%lld,\"opset\":%lld,\"nodes\":%llu,\"weight_bytes\":%llu",
           (long long)info.ir_version, (long long)info.opset, (unsigned long long)info.node_count,
           (unsigned long long)info.weight_bytes);
  } else {
    printf("%s, made by %s %s\nIR version %lld, opset %lld, %llu nodes, weights of %.1f MiB\n",
           info.graph_name, info.producer, info.producer_version, (long long)info.ir_version,
           (long long)info.opset, (unsigned long long)info.node_count,
           (double)info.weight_bytes / (1 << 20));
  }
  print_values(model, "inputs", weft_model_input_count(model), weft_model_input, json);
  print_values(model, "outputs", weft_model_output_count(model), weft_model_output, json);
  print_metadata(model, info.metadata_count, json);
  if (json) printf("}\n");
  return EXIT_OK;
}

static void write_text(void *user, const char *text, size_t length) {
  fwrite(text, 1, length, user);
}

static int dump(const loaded_model *loaded, weft_dump what) {
  weft_error error;
  if (weft_session_dump(loaded->session, what, write_text, stdout, &error) != WEFT_OK)
    return fail(&error);
  return EXIT_OK;
}

static int inspect(loaded_model *loaded, void *user) {
  inspect_options *options = user;
  if (!options->graph && !options->plan) return describe(loaded, options->common.json);
  if (!session_load(loaded, &options->common, false)) return EXIT_FAILED;
  int code = options->graph ? dump(loaded, WEFT_DUMP_GRAPH) : EXIT_OK;
  if (!options->plan || code != EXIT_OK) return code;
  bindings b = {0};
  bool ok =
      bindings_open(loaded, &options->common, &options->inputs, &b) && bindings_run(loaded, &b, 0);
  code = ok ? dump(loaded, WEFT_DUMP_PLAN) : EXIT_FAILED;
  bindings_close(&b);
  return code;
}

int command_inspect(int argc, char **argv) {
  inspect_options options = {0};
  const option table[] = {
      {"graph", NULL, "print the graph after the rewrites", OPTION_FLAG, &options.graph},
      {"plan", NULL, "run once, and print the plan: steps, kernels, memory", OPTION_FLAG,
       &options.plan},
      INPUT_OPTIONS(&options.inputs),
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {
      "inspect MODEL [OPTIONS]",
      "Shows a model's inputs, outputs and metadata, or with --graph or --plan what the "
      "runtime makes of it.",
      table,
      &options.common,
      false,
      false,
      inspect,
      &options};
  return with_model(&command, argc, argv);
}
