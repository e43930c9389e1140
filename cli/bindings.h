/* bindings.h - one set of inputs and outputs of a model, made at random where nothing is given. */
#ifndef WEFT_CLI_BINDINGS_H
#define WEFT_CLI_BINDINGS_H

#include "cli.h"

typedef struct bindings {
  weft_binding *inputs, *outputs;
  size_t input_count, output_count;
} bindings;

/* Where inputs come from; all may be empty. */
typedef struct input_options {
  option_list files;   /* "NAME=FILE.npy" */
  const char *archive; /* .npz */
  option_list shapes;  /* "NAME=1,128", for random ones */
  option_list dims;    /* "sequence=128", for random ones */
  uint64_t seed;
} input_options;

#define INPUT_OPTIONS(options)                                                                     \
  {"input", "NAME=FILE", "an input from a .npy file", OPTION_PAIRS, &(options)->files},            \
      {"inputs", "FILE", "the other inputs from an .npz file, by name", OPTION_TEXT,               \
       &(options)->archive},                                                                       \
      {"shape", "NAME=N,N,...", "an input is random, of this shape", OPTION_SHAPES,                \
       &(options)->shapes},                                                                        \
      {"dim", "NAME=N", "extent of a symbolic dimension of random inputs (default 1)",             \
       OPTION_DIMS, &(options)->dims},                                                             \
  {                                                                                                \
    "seed", "N", "of the random inputs (default 1)", OPTION_NUMBER, &(options)->seed               \
  }

bool check_output_names(const weft_model *model, const option_list *pairs);
/* False with a message on stderr. Close in either case. */
bool bindings_open(const loaded_model *loaded, input_options *options, bindings *out);
void bindings_close(bindings *bindings);
/* Runs the session once on them; outputs that the session owned in the last run are asked for anew.
 */
bool bindings_run(const loaded_model *loaded, bindings *bindings, uint64_t time_limit_ms);

#endif
