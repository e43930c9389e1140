/* cli.h - what the commands of the program share: exit codes, their frame (options, a model, a
 * session on it), one run that Ctrl-C can end. */
#ifndef WEFT_CLI_CLI_H
#define WEFT_CLI_CLI_H

#include "options.h"
#include "output.h"
#include "weft/weft.h"

/* And 128 + the signal's number when SIGINT or SIGTERM ended the work. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A command: gets what follows its name. */
int command_run(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_embed(int argc, char **argv);

/* Options that every command has. */
typedef struct common_options {
  uint64_t threads, memory_limit_mib;
  const char *kernels, *disable;
  const char *gpu; /* a part of an adapter's name; "": any; NULL: none */
  const char *tune, *tuning;
  bool json, quiet;
} common_options;

#define COMMON_OPTIONS(common)                                                                     \
  {"threads", "N", "threads to use (default 1)", OPTION_COUNT, &(common)->threads},                \
      {"kernels", "TARGET", "kernels to use (reference, portable, avx2, neon; default: the best)", \
       OPTION_TEXT, &(common)->kernels},                                                           \
      {"gpu", "ADAPTER", "run on a GPU (WebGPU): any, one by name, or (auto) where it is faster",  \
       OPTION_CHOICE, &(common)->gpu},                                                             \
      {"tune", "HOW", "measure the GPU's kernels first: off, fast, full (default: auto)",          \
       OPTION_TEXT, &(common)->tune},                                                              \
      {"tuning", "FILE", "where what was measured is kept", OPTION_TEXT, &(common)->tuning},       \
      {"disable", "PASSES", "rewrites of the graph to leave out, by comma; 'all'", OPTION_TEXT,    \
       &(common)->disable},                                                                        \
      {"memory-limit", "MIB", "the most that the model, and a session on it, may hold each",       \
       OPTION_COUNT, &(common)->memory_limit_mib},                                                 \
      {"quiet", NULL, "no progress bar, no summary", OPTION_FLAG, &(common)->quiet}, {             \
    "json", NULL, "print JSON", OPTION_FLAG, &(common)->json                                       \
  }

/* A model opened from a file, and a session on it once one is asked for. */
typedef struct loaded_model {
  const char *path;
  weft_runtime *runtime;
  struct model_file *file;
  weft_model *model;
  weft_gpu *gpu;
  weft_session *session;
  double model_ms, session_ms; /* time to open each */
  bool unprofiled;             /* runs are left out of the profile */
} loaded_model;

/* These say on stderr what went wrong. The session takes the GPU along if one is wanted. */
bool gpu_load(loaded_model *loaded, const common_options *common);
bool gpu_tune_mode(const common_options *common, weft_tune *out);
/* With --gpu=auto: says which it is, and closes the GPU if it is the CPU. */
bool gpu_choose(loaded_model *loaded, weft_session_options *options, const common_options *common);
/* Compiles and measures kernels before the session's first run. */
bool gpu_prepare(loaded_model *loaded, const common_options *common);
bool session_load(loaded_model *loaded, const common_options *common, bool profile);
bool session_run(const loaded_model *loaded, uint64_t time_limit_ms, const weft_binding *inputs,
                 size_t input_count, weft_binding *outputs, size_t output_count);
/* Caches stay in a GPU's memory until somebody wants to see them. */
bool session_fetch(const loaded_model *loaded, weft_tensor *tensor);

/* Complains of an error, or that the work was interrupted; answers false. `path` may be NULL. */
bool fail(const char *path, const weft_error *error);

/* A command on one model: reads the options, loads the model, opens a session if wanted, does the
 * work, cleans up. */
typedef struct model_command {
  const char *name, *usage, *help; /* "run", "MODEL [OPTIONS]", and sentences */
  const char *examples;
  const option *table;
  const common_options *common;
  bool (*check)(const void *options); /* of options together; complains; may be NULL */
  bool session, profile;
  bool (*work)(loaded_model *loaded, void *options);
  void *options;
} model_command;
int with_model(const model_command *command, int argc, char **argv);

double now_ms(void);
double peak_memory_mib(void);

#endif
