/* cli.c - see cli.h. */
#include "cli.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

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

/* ---- interruption --------------------------------------------------------------------------- */

static volatile sig_atomic_t caught;            /* the signal, 0 before one */
static _Atomic(weft_session *) current_session; /* that the signal cancels */

static void on_signal(int number) {
  weft_session *session = atomic_load(&current_session);
  caught = number;
  if (session) weft_session_cancel(session);
}

/* The first signal ends the work in good order, a second one the process. */
static void handle_signals(sigset_t *handled) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigemptyset(handled);
  sigaddset(handled, SIGINT);
  sigaddset(handled, SIGTERM);
}

bool fail(const char *path, const weft_error *error) {
  if (caught)
    complain("interrupted");
  else
    complain("%s%s%s", path ? path : "", path ? ": " : "", error->message);
  return false;
}

/* ---- a model and a session ------------------------------------------------------------------ */

static bool on_progress(void *work, uint64_t done, uint64_t total) {
  progress_show(work, done, total);
  return !caught;
}

/* Threads of the pool inherit that signals are blocked: only this thread handles them. */
static weft_status open_runtime(const common_options *common, weft_runtime **out,
                                weft_error *error) {
  sigset_t handled, before;
  weft_runtime_options options = weft_runtime_options_default();
  options.thread_count = (uint32_t)common->threads;
  handle_signals(&handled);
  sigprocmask(SIG_BLOCK, &handled, &before);
  weft_status status = weft_runtime_open(&options, out, error);
  sigprocmask(SIG_SETMASK, &before, NULL);
  return status;
}

static bool model_load(const char *path, const common_options *common, loaded_model *out) {
  weft_error error;
  if (open_runtime(common, &out->runtime, &error) != WEFT_OK) return fail(NULL, &error);
  out->path = path;
  out->file = model_file_open(path);
  if (!out->file) return false;
  weft_model_options options = weft_model_options_default();
  options.resolve = model_file_resolve;
  options.resolve_user = out->file;
  options.progress = on_progress;
  options.progress_user = "reading";
  options.memory_limit = common->memory_limit_mib << 20;
  double start = now_ms();
  weft_status status =
      weft_model_open(out->runtime, model_file_source(out->file), &options, &out->model, &error);
  out->model_ms = now_ms() - start;
  return status == WEFT_OK || fail(path, &error);
}

/* "all", then the rewrites. */
static const char *pass_name(const void *unused, size_t index) {
  (void)unused;
  return index ? weft_pass_name(index - 1) : "all";
}

static bool check_passes(const char *list) {
  while (list && *list) {
    if (!check_name("rewrite", list, pass_name, NULL)) return false;
    list += strcspn(list, ",");
    list += *list == ',';
  }
  return true;
}

bool session_load(loaded_model *loaded, const common_options *common, bool profile) {
  weft_error error;
  if (!check_passes(common->disable) || !gpu_load(loaded, common)) return false;
  weft_session_options options = weft_session_options_default();
  options.gpu = loaded->gpu;
  if (!gpu_tune_mode(common, &options.tune)) return false;
  options.disabled_passes = common->disable;
  options.kernels = common->kernels;
  options.consume_model = true;
  options.profile = profile;
  options.memory_limit = common->memory_limit_mib << 20;
  options.progress = on_progress;
  options.progress_user = "packing";
  if (!gpu_choose(loaded, &options, common)) return false;
  double start = now_ms();
  weft_status status = weft_session_open(loaded->model, &options, &loaded->session, &error);
  atomic_store(&current_session, loaded->session);
  if (status != WEFT_OK) return fail(loaded->path, &error);
  bool prepared = gpu_prepare(loaded, common);
  loaded->session_ms = now_ms() - start;
  return prepared;
}

bool session_run(const loaded_model *loaded, uint64_t time_limit_ms, const weft_binding *inputs,
                 size_t input_count, weft_binding *outputs, size_t output_count) {
  weft_error error;
  weft_run_options options = {.time_limit_ns = time_limit_ms * 1000000,
                              .unprofiled = loaded->unprofiled};
  weft_status status = weft_session_run(loaded->session, &options, inputs, input_count, outputs,
                                        output_count, &error);
  while (status == WEFT_PENDING) {
    status = weft_session_poll(loaded->session, true, &error);
    if (status == WEFT_OK) status = weft_session_resume(loaded->session, &error);
  }
  return (status == WEFT_OK && !caught) || fail(NULL, &error);
}

bool session_fetch(const loaded_model *loaded, weft_tensor *tensor) {
  weft_error error;
  weft_status status;
  while ((status = weft_tensor_fetch(tensor, &error)) == WEFT_PENDING)
    weft_session_poll(loaded->session, true, NULL);
  return status == WEFT_OK || fail(NULL, &error);
}

static void model_unload(loaded_model *loaded) {
  atomic_store(&current_session, NULL);
  weft_session_close(&loaded->session);
  weft_gpu_close(&loaded->gpu);
  weft_model_close(&loaded->model);
  weft_runtime_close(&loaded->runtime);
  model_file_close(loaded->file);
}

/* ---- a command ------------------------------------------------------------------------------ */

static int print_help(const model_command *command) {
  printf("usage: weft %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->help);
  options_print(command->table);
  printf("\nexamples:\n%s", command->examples);
  return EXIT_OK;
}

static int usage_error(const model_command *command) {
  complain("see 'weft %s --help'", command->name);
  return EXIT_USAGE;
}

static bool check_words(const option_list *words) {
  if (words->count == 0) complain("which model?");
  if (words->count > 1)
    complain("one model at a time: '%s' and '%s'", words->items[0], words->items[1]);
  return words->count == 1;
}

static int work_on(const model_command *command, const char *path) {
  loaded_model loaded = {0};
  if (command->common->quiet) progress_disable();
  bool ok = model_load(path, command->common, &loaded) &&
            (!command->session || session_load(&loaded, command->common, command->profile)) &&
            command->work(&loaded, command->options);
  progress_clear();
  model_unload(&loaded);
  return caught ? 128 + caught : ok ? EXIT_OK : EXIT_FAILED;
}

int with_model(const model_command *command, int argc, char **argv) {
  option_list words = {0};
  bool help = false;
  int code;
  if (!options_read(command->table, argc, argv, &words, &help))
    code = usage_error(command);
  else if (help)
    code = print_help(command);
  else if (!check_words(&words) || (command->check && !command->check(command->options)))
    code = usage_error(command);
  else
    code = work_on(command, words.items[0]);
  for (const option *entry = command->table; entry->name; entry++) {
    if (options_has_list(entry)) option_list_free(entry->target);
  }
  option_list_free(&words);
  return code;
}
