/* command_inspect.c - `weft inspect`: what a model is, and what the runtime makes of it. */
#include <stdlib.h>

#include "bindings.h"

typedef struct inspect_options {
  common_options common;
  input_options inputs;
  bool graph, plan;
} inspect_options;

static void print_value(const weft_value_info *info, bool json) {
  if (json) {
    printf("{\"name\":");
    print_text(info->name, json);
    printf(",\"type\":\"%s\",\"dims\":", weft_dtype_name(info->dtype));
  } else {
    printf("  ");
    print_text(info->name, json);
    printf(": %s", weft_dtype_name(info->dtype));
  }
  if (info->rank < 0)
    printf(json ? "null" : "[...]");
  else
    printf("[");
  for (int32_t i = 0; i < info->rank; i++) {
    if (i) printf(",");
    if (info->dims[i] >= 0)
      printf("%lld", (long long)info->dims[i]);
    else if (info->dim_names[i])
      print_text(info->dim_names[i], json);
    else
      printf(json ? "null" : "?");
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
    printf(json ? i ? "," : "" : "  ");
    print_text(key, json);
    printf(json ? ":" : ": ");
    print_text(value, json);
    printf(json ? "" : "\n");
  }
  if (json) printf("}");
}

static void print_facts(const weft_model_info *info, bool json) {
  print_text(info->graph_name, json);
  printf(json ? ",\"producer\":" : ", made by ");
  print_text(info->producer, json);
  printf(json ? ",\"producer_version\":" : " ");
  print_text(info->producer_version, json);
  printf(json ? ",\"ir_version\":%lld,\"opset\":%lld,\"nodes\":%llu,"
              : "\nIR version %lld, opset %lld, %llu nodes, ",
         (long long)info->ir_version, (long long)info->opset, (unsigned long long)info->node_count);
  if (json)
    printf("\"weight_bytes\":%llu", (unsigned long long)info->weight_bytes);
  else
    printf("weights of %.1f MiB\n", (double)info->weight_bytes / (1 << 20));
}

static void describe(const weft_model *model, bool json) {
  weft_model_info info;
  weft_model_describe(model, &info);
  if (json) printf("{\"graph_name\":");
  print_facts(&info, json);
  print_values(model, "inputs", weft_model_input_count(model), weft_model_input, json);
  print_values(model, "outputs", weft_model_output_count(model), weft_model_output, json);
  print_metadata(model, info.metadata_count, json);
}

static void write_text(void *user, const char *text, size_t length) {
  fwrite(text, 1, length, user);
}

/* As text, or as one more member of the JSON object. */
static bool dump(const weft_session *session, weft_dump what, const char *title, bool json) {
  weft_error error;
  char *text = NULL;
  size_t length;
  FILE *memory = open_memstream(&text, &length);
  if (!memory) {
    complain("out of memory");
    return false;
  }
  weft_status status = weft_session_dump(session, what, write_text, memory, &error);
  fclose(memory);
  if (status != WEFT_OK) {
    complain("%s", error.message);
  } else if (json) {
    printf(",\"%s\":", title);
    print_text(text, json);
  } else {
    fwrite(text, 1, length, stdout);
  }
  free(text);
  return status == WEFT_OK;
}

static bool dump_plan(const loaded_model *loaded, inspect_options *options) {
  bindings b = {0};
  bool ok = bindings_open(loaded, &options->inputs, &b) && bindings_run(loaded, &b, 0) &&
            dump(loaded->session, WEFT_DUMP_PLAN, "plan", options->common.json);
  bindings_close(&b);
  return ok;
}

static void describe_gpu(const weft_gpu *gpu, bool json) {
  printf(json ? ",\"gpu\":" : "GPU: ");
  print_text(weft_gpu_description(gpu), json);
  printf(json ? "" : "\n");
}

static bool inspect(loaded_model *loaded, void *user) {
  inspect_options *options = user;
  bool json = options->common.json, dumps = options->graph || options->plan;
  if (!gpu_load(loaded, &options->common)) return false;
  if (json || !dumps) describe(loaded->model, json);
  if (loaded->gpu && (json || !dumps)) describe_gpu(loaded->gpu, json);
  bool ok = !dumps || (session_load(loaded, &options->common, false) &&
                       (!options->graph || dump(loaded->session, WEFT_DUMP_GRAPH, "graph", json)) &&
                       (!options->plan || dump_plan(loaded, options)));
  if (json) printf("}\n");
  return ok;
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
      .name = "inspect",
      .usage = "MODEL [OPTIONS]",
      .help = "Shows a model's inputs, outputs and metadata, or with --graph or --plan what the "
              "runtime\n"
              "makes of it.",
      .examples = "  weft inspect model.onnx\n"
                  "  weft inspect model.onnx --graph --disable all\n"
                  "  weft inspect model.onnx --plan --dim batch=1 --dim sequence=16\n",
      .table = table,
      .common = &options.common,
      .work = inspect,
      .options = &options,
  };
  return with_model(&command, argc, argv);
}
