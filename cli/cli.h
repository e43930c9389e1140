/* cli.h - what the commands of the program share: exit codes, opening a model with a progress bar,
 * text output. */
#ifndef WEFT_CLI_CLI_H
#define WEFT_CLI_CLI_H

#include <stdio.h>

#include "options.h"
#include "weft/weft.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* A command: gets what follows its name. */
int command_run(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_embed(int argc, char **argv);

/* Options that every command on a model has. */
typedef struct common_options {
  uint64_t threads, memory_limit_mib;
  const char *kernels, *disable;
  option_list dims; /* "sequence=128" */
  bool json, quiet;
} common_options;

#define COMMON_OPTIONS(common)                                                                     \
  {"threads", "N", "threads to use (default 1)", OPTION_NUMBER, &(common)->threads},               \
      {"dim", "NAME=N", "extent of a symbolic dimension (default 1)", OPTION_LIST,                 \
       &(common)->dims},                                                                           \
      {"kernels", "TARGET", "use the kernels of one target (reference, portable, avx2, ...)",      \
       OPTION_TEXT, &(common)->kernels},                                                           \
      {"disable", "PASSES", "rewrites to leave out, by comma; 'all'", OPTION_TEXT,                 \
       &(common)->disable},                                                                        \
      {"memory-limit", "MIB", "refuse to hold more than this", OPTION_NUMBER,                      \
       &(common)->memory_limit_mib},                                                               \
      {"quiet", NULL, "no progress bar", OPTION_FLAG, &(common)->quiet}, {                         \
    "json", NULL, "print JSON", OPTION_FLAG, &(common)->json                                       \
  }

/* A model opened from a file, and a session on it once one is asked for. */
typedef struct loaded_model {
  weft_runtime *runtime;
  struct model_file *file;
  weft_model *model;
  weft_session *session;
  double model_ms, session_ms; /* time to open each */
} loaded_model;

/* Both say on stderr what went wrong. */
bool model_load(const char *path, const common_options *common, loaded_model *out);
bool session_load(loaded_model *loaded, const common_options *common, bool profile);
void model_unload(loaded_model *loaded);

/* "weft: message" on stderr; answers EXIT_FAILED. */
int fail(const weft_error *error);

/* A command on one model: reads the options, loads the model, opens a session if wanted, does the
 * work, cleans up. */
typedef struct model_command {
  const char *usage, *help; /* "run MODEL [OPTIONS]", and a sentence */
  const option *table;
  const common_options *common;
  bool session, profile;
  int (*work)(loaded_model *loaded, void *options);
  void *options;
} model_command;
int with_model(const model_command *command, int argc, char **argv);

double now_ms(void);
double peak_memory_mib(void);
void json_text(FILE *out, const char *text);
void json_dims(FILE *out, const int64_t *dims, size_t rank);

#endif
