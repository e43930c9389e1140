/* main.c - the program `weft`: a table of commands over the public interface. */
#include <string.h>

#include "cli.h"

typedef struct command {
  const char *name, *help;
  int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"run", "run a model on arrays from .npy or .npz files, or on random ones", command_run},
    {"inspect", "show a model's inputs, outputs and metadata, its graph or its plan",
     command_inspect},
    {"bench", "time a model, and say where the time goes", command_bench},
    {"embed", "turn texts into vectors, or rank them by meaning", command_embed},
};
enum { command_count = sizeof commands / sizeof commands[0] };

static int usage(FILE *out) {
  fprintf(out, "weft %s - run ONNX models\n\nusage: weft COMMAND [OPTIONS]\n\n", WEFT_VERSION);
  for (int i = 0; i < command_count; i++)
    fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
  fprintf(out, "\n'weft COMMAND --help' lists a command's options, with examples.\n"
               "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
  return out == stderr ? EXIT_USAGE : EXIT_OK;
}

static int dispatch(int argc, char **argv) {
  if (argc < 2) return usage(stderr);
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
    return usage(stdout);
  if (strcmp(name, "--version") == 0) {
    printf("weft %s\n", WEFT_VERSION);
    return EXIT_OK;
  }
  for (int i = 0; i < command_count; i++) {
    if (strcmp(name, commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2);
  }
  complain("there is no command '%s'", name);
  return usage(stderr);
}

int main(int argc, char **argv) {
  int code = dispatch(argc, argv);
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  complain("cannot write to the standard output");
  return EXIT_FAILED;
}
