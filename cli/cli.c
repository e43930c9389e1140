/* cli.c - see cli.h. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "model_file.h"

double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

double peak_memory_mib(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
#ifdef __APPLE__
  return (double)use.ru_maxrss / (1 << 20); /* bytes there */
#else
  return (double)use.ru_maxrss / (1 << 10);
#endif
}

int fail(const weft_error *error) {
  fprintf(stderr, "weft: %s\n", error->message);
  return EXIT_FAILED;
}

/* A bar on a terminal; `user` names the work. */
static bool show_progress(void *user, uint64_t done, uint64_t total) {
  if (total == 0) return true;
  int filled = (int)(done * 30 / total);
  fprintf(stderr, "\r%s [%.*s%*s] %3d%%%s", (const char *)user, filled,
          "##############################", 30 - filled, "", (int)(done * 100 / total),
          done >= total ? "\r\033[K" : "");
  return true;
}

static weft_progress_fn progress_for(const common_options *common) {
  return !common->quiet && isatty(STDERR_FILENO) ? show_progress : NULL;
}

bool model_load(const char *path, const common_options *common, loaded_model *out) {
  weft_error error;
  *out = (loaded_model){0};
  out->file = model_file_open(path);
  if (!out->file) return false;
  weft_runtime_options runtime = weft_runtime_options_default();
  runtime.thread_count = (uint32_t)common->threads;
  weft_model_options options = weft_model_options_default();
  options.resolve = model_file_resolve;
  options.resolve_user = out->file;
  options.progress = progress_for(common);
  options.progress_user = "reading";
  options.memory_limit = common->memory_limit_mib << 20;
  double start = now_ms();
  bool ok = weft_runtime_open(&runtime, &out->runtime, &error) == WEFT_OK &&
            weft_model_open(out->runtime, model_file_source(out->file), &options, &out->model,
                            &error) == WEFT_OK;
  out->model_ms = now_ms() - start;
  if (ok) return true;
  fail(&error);
  model_unload(out);
  return false;
}

bool session_load(loaded_model *loaded, const common_options *common, bool profile) {
  weft_error error;
  weft_session_options options = weft_session_options_default();
  options.disabled_passes = common->disable;
  options.kernels = common->kernels;
  options.consume_model = true;
  options.profile = profile;
  options.memory_limit = common->memory_limit_mib << 20;
  options.progress = progress_for(common);
  options.progress_user = "packing";
  double start = now_ms();
  weft_status status = weft_session_open(loaded->model, &options, &loaded->session, &error);
  loaded->session_ms = now_ms() - start;
  if (status != WEFT_OK) fail(&error);
  return status == WEFT_OK;
}

void model_unload(loaded_model *loaded) {
  weft_session_close(&loaded->session);
  weft_model_close(&loaded->model);
  weft_runtime_close(&loaded->runtime);
  model_file_close(loaded->file);
  loaded->file = NULL;
}

int with_model(const model_command *command, int argc, char **argv) {
  option_list words = {0};
  bool help = false;
  bool usage =
      !options_read(command->table, argc, argv, &words, &help) || (!help && words.count != 1);
  int code = usage ? EXIT_USAGE : help ? EXIT_OK : EXIT_FAILED;
  loaded_model loaded;
  if (help || usage) {
    printf("usage: weft %s\n\n%s\n\n", command->usage, command->help);
    options_print(command->table);
  } else if (model_load(words.items[0], command->common, &loaded)) {
    if (!command->session || session_load(&loaded, command->common, command->profile)) {
      code = command->work(&loaded, command->options);
    }
    model_unload(&loaded);
  }
  for (const option *entry = command->table; entry->name; entry++) {
    if (entry->kind == OPTION_LIST) option_list_free(entry->target);
  }
  option_list_free(&words);
  return code;
}

void json_text(FILE *out, const char *text) {
  fputc('"', out);
  for (const unsigned char *c = (const unsigned char *)(text ? text : ""); *c; c++) {
    if (*c == '"' || *c == '\\')
      fprintf(out, "\\%c", *c);
    else if (*c < 0x20)
      fprintf(out, "\\u%04x", *c);
    else
      fputc(*c, out);
  }
  fputc('"', out);
}

void json_dims(FILE *out, const int64_t *dims, size_t rank) {
  fputc('[', out);
  for (size_t i = 0; i < rank; i++) fprintf(out, "%s%lld", i ? "," : "", (long long)dims[i]);
  fputc(']', out);
}
