/* command_bench.c - `weft bench`: how long a model takes, and where the time goes. */
#include <stdlib.h>
#include <string.h>

#include "bindings.h"

typedef struct bench_options {
  common_options common;
  input_options inputs;
  uint64_t runs, warmup;
  bool steps; /* every step, not summed by op and kernel */
} bench_options;

/* Steps of one kind, summed over the runs. */
typedef struct total {
  const char *op, *node, *kernel;
  uint64_t calls, ns;
  double flops;
} total;

typedef struct timing {
  double first_ms, min_ms, median_ms, max_ms;
} timing;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static bool time_runs(const loaded_model *loaded, const bench_options *options, bindings *b,
                      timing *out) {
  double *times = calloc(options->runs, sizeof *times);
  bool ok = times != NULL;
  for (uint64_t i = 0; i < options->warmup + options->runs && ok; i++) {
    double start = now_ms();
    ok = bindings_run(loaded, b, 0);
    double ms = now_ms() - start;
    if (i == 0) out->first_ms = ms;
    if (i >= options->warmup) times[i - options->warmup] = ms;
    if (ok) progress_show("running", i + 1, options->warmup + options->runs);
  }
  if (ok) {
    qsort(times, options->runs, sizeof *times, by_value);
    out->min_ms = times[0];
    out->median_ms = times[options->runs / 2];
    out->max_ms = times[options->runs - 1];
  }
  free(times);
  return ok;
}

static bool belongs(const total *sum, const weft_profile_entry *entry, bool steps) {
  return !steps && strcmp(sum->op, entry->op) == 0 && strcmp(sum->kernel, entry->kernel) == 0;
}

static int by_time(const void *a, const void *b) {
  uint64_t x = ((const total *)a)->ns, y = ((const total *)b)->ns;
  return (x < y) - (x > y);
}

/* The profile summed by op and kernel (or each step), the longest first; the caller frees. */
static total *sum_profile(const weft_session *session, bool steps, size_t *count) {
  size_t entries = weft_session_profile_count(session);
  total *totals = calloc(entries + 1, sizeof *totals);
  *count = 0;
  for (size_t i = 0; i < entries && totals; i++) {
    weft_profile_entry entry;
    size_t at = 0;
    weft_session_profile_entry(session, i, &entry);
    while (at < *count && !belongs(&totals[at], &entry, steps)) at++;
    if (at == *count) totals[(*count)++] = (total){entry.op, entry.node, entry.kernel, 0, 0, 0};
    totals[at].calls += entry.calls;
    totals[at].ns += entry.total_ns;
    totals[at].flops += entry.flops * (double)entry.calls;
  }
  if (totals) qsort(totals, *count, sizeof *totals, by_time);
  return totals;
}

static void print_table(const total *totals, size_t count, uint64_t runs, bool steps) {
  double all = 0;
  for (size_t i = 0; i < count; i++) all += (double)totals[i].ns;
  printf("%-12s %-18s %6s %10s %6s %9s%s\n", "op", "kernel", "calls", "ms/run", "%", "GFLOP/s",
         steps ? "  node" : "");
  for (size_t i = 0; i < count; i++) {
    const total *t = &totals[i];
    printf("%-12s %-18s %6llu %10.4f %6.1f ", t->op, t->kernel,
           (unsigned long long)(t->calls / runs), (double)t->ns * 1e-6 / (double)runs,
           all > 0 ? 100 * (double)t->ns / all : 0);
    if (t->flops > 0 && t->ns)
      printf("%9.1f", t->flops / (double)t->ns);
    else
      printf("%9s", "");
    printf(steps ? "  " : "");
    print_text(steps ? t->node : NULL, false);
    putchar('\n');
  }
}

static void print_json(const loaded_model *loaded, const timing *time, const total *totals,
                       size_t count, uint64_t runs) {
  printf(
      "{\"model_ms\":%.3f,\"session_ms\":%.3f,\"first_ms\":%.3f,\"min_ms\":%.3f,\"median_ms\":%.3f,"
      "\"max_ms\":%.3f,\"peak_memory_mib\":%.1f,\"steps\":[",
      loaded->model_ms, loaded->session_ms, time->first_ms, time->min_ms, time->median_ms,
      time->max_ms, peak_memory_mib());
  for (size_t i = 0; i < count; i++) {
    printf("%s{\"op\":\"%s\",\"kernel\":\"%s\",\"node\":", i ? "," : "", totals[i].op,
           totals[i].kernel);
    print_text(totals[i].node, true);
    printf(",\"calls\":%llu,\"ms\":%.4f,\"gflops\":%.2f}",
           (unsigned long long)(totals[i].calls / runs), (double)totals[i].ns * 1e-6 / (double)runs,
           totals[i].ns ? totals[i].flops / (double)totals[i].ns : 0);
  }
  printf("]}\n");
}

static bool bench(loaded_model *loaded, void *user) {
  bench_options *options = user;
  bindings b = {0};
  timing time = {0};
  uint64_t all_runs = options->warmup + options->runs;
  bool ok = bindings_open(loaded, &options->inputs, &b) && time_runs(loaded, options, &b, &time);
  size_t count;
  total *totals = ok ? sum_profile(loaded->session, options->steps, &count) : NULL;
  if (totals && options->common.json)
    print_json(loaded, &time, totals, count, all_runs);
  else if (totals) {
    printf("model %.1f ms, session %.1f ms, first run %.2f ms\n"
           "run: min %.3f, median %.3f, max %.3f ms over %llu runs; peak memory %.1f MiB\n\n",
           loaded->model_ms, loaded->session_ms, time.first_ms, time.min_ms, time.median_ms,
           time.max_ms, (unsigned long long)options->runs, peak_memory_mib());
    print_table(totals, count, all_runs, options->steps);
  }
  free(totals);
  bindings_close(&b);
  return totals;
}

int command_bench(int argc, char **argv) {
  bench_options options = {.runs = 20, .warmup = 3};
  const option table[] = {
      {"runs", "N", "timed runs (default 20)", OPTION_COUNT, &options.runs},
      {"warmup", "N", "runs before (default 3)", OPTION_NUMBER, &options.warmup},
      {"steps", NULL, "list every step instead of sums by op and kernel", OPTION_FLAG,
       &options.steps},
      INPUT_OPTIONS(&options.inputs),
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {
      .name = "bench",
      .usage = "MODEL [OPTIONS]",
      .help = "Times a model on inputs that are given or random, and says where the time goes.",
      .examples = "  weft bench model.onnx --dim batch=1 --dim sequence=128\n"
                  "  weft bench model.onnx --inputs in.npz --runs 100 --threads 4 --json\n"
                  "  weft bench model.onnx --steps\n",
      .table = table,
      .common = &options.common,
      .session = true,
      .profile = true,
      .work = bench,
      .options = &options,
  };
  return with_model(&command, argc, argv);
}
