/* command_bench.c - `weft bench`: how long a model takes, where the time goes, and how near each
 * kernel comes to what the machine can do. */
#include <stdlib.h>
#include <string.h>

#include "bench_peak.h"
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
  double flops, bytes;
} total;

typedef struct timing {
  double first_ms, min_ms, median_ms, max_ms;
  double memory_mib; /* the most the process has held */
} timing;

typedef struct report {
  const loaded_model *loaded;
  const total *totals;
  size_t count;
  uint64_t runs, timed_runs;
  bool steps;
  timing time;
  machine_peak peak;
  double gpu_memory_mib; /* the most the session has held */
} report;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* On a GPU a profiled run takes longer: it has runs of its own, after those that are timed. */
static bool profile_runs(loaded_model *loaded, const bench_options *options, bindings *b) {
  bool ok = true;
  loaded->unprofiled = false;
  for (uint64_t i = 0; loaded->gpu && i < options->runs && ok; i++) {
    ok = bindings_run(loaded, b, 0);
    if (ok) progress_show("profiling", i + 1, options->runs);
  }
  return ok;
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
    out->memory_mib = peak_memory_mib();
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
static total *sum_profile(const loaded_model *loaded, bool steps, size_t *count) {
  const weft_session *session = loaded->session;
  size_t entries = weft_session_profile_count(session);
  total *totals = calloc(entries + 1, sizeof *totals);
  *count = 0;
  for (size_t i = 0; i < entries && totals; i++) {
    weft_profile_entry entry;
    size_t at = 0;
    weft_session_profile_entry(session, i, &entry);
    while (at < *count && !belongs(&totals[at], &entry, steps)) at++;
    if (at == *count) totals[(*count)++] = (total){entry.op, entry.node, entry.kernel, 0, 0, 0, 0};
    totals[at].calls += entry.calls;
    totals[at].ns += entry.total_ns;
    totals[at].flops += entry.flops * (double)entry.calls;
    totals[at].bytes += entry.bytes * (double)entry.calls;
  }
  if (totals) qsort(totals, *count, sizeof *totals, by_time);
  return totals;
}

/* Both rates are also per ns: 0 where nothing was counted. */
static double gflops(const total *t) {
  return t->ns ? t->flops / (double)t->ns : 0;
}
static double gb_per_s(const total *t) {
  return t->ns ? t->bytes / (double)t->ns : 0;
}

/* Of the peak that is nearer: arithmetic, or reading weights. Products of 8-bit numbers may do more
 * than the peak, which is in f32, and weights that a cache holds come faster than memory. */
static double share_of_peak(const total *t, const machine_peak *peak) {
  double arithmetic = peak->gflops > 0 ? gflops(t) / peak->gflops : 0;
  double reading = peak->gb_per_s > 0 ? gb_per_s(t) / peak->gb_per_s : 0;
  return arithmetic > reading ? arithmetic : reading;
}

static void print_rate(const char *format, int width, double value) {
  if (value > 0)
    printf(format, value);
  else
    printf("%*s", width, "");
}

static void print_table(const report *r) {
  double all = 0;
  for (size_t i = 0; i < r->count; i++) all += (double)r->totals[i].ns;
  printf("%-16s %-18s %6s %10s %6s %9s %7s %7s%s\n", "op", "kernel", "calls", "ms/run", "%",
         "GFLOP/s", "GB/s", "of peak", r->steps ? "  node" : "");
  for (size_t i = 0; i < r->count; i++) {
    const total *t = &r->totals[i];
    printf("%-16s %-18s %6llu %10.4f %6.1f ", t->op, t->kernel,
           (unsigned long long)(t->calls / r->runs), (double)t->ns * 1e-6 / (double)r->runs,
           all > 0 ? 100 * (double)t->ns / all : 0);
    print_rate("%9.1f ", 10, gflops(t));
    print_rate("%7.1f ", 8, gb_per_s(t));
    print_rate("%5.0f %%", 7, 100 * share_of_peak(t, &r->peak));
    printf(r->steps ? "  " : "");
    print_text(r->steps ? t->node : NULL, false);
    putchar('\n');
  }
}

static void print_report(const report *r) {
  printf("model %.1f ms, session %.1f ms, first run %.2f ms\n"
         "run: min %.3f, median %.3f, max %.3f ms over %llu runs; peak memory %.1f MiB\n",
         r->loaded->model_ms, r->loaded->session_ms, r->time.first_ms, r->time.min_ms,
         r->time.median_ms, r->time.max_ms, (unsigned long long)r->timed_runs, r->time.memory_mib);
  if (r->loaded->gpu)
    printf("GPU: %s, %.1f MiB of its memory at most\n\n", weft_gpu_description(r->loaded->gpu),
           r->gpu_memory_mib);
  else
    printf("this machine: %.1f GFLOP/s in f32, memory %.1f GB/s\n\n", r->peak.gflops,
           r->peak.gb_per_s);
  print_table(r);
}

static void print_json_step(const report *r, const total *t) {
  printf("{\"op\":\"%s\",\"kernel\":\"%s\",\"node\":", t->op, t->kernel);
  print_text(t->node, true);
  printf(",\"calls\":%llu,\"ms\":%.4f,\"gflops\":%.2f,\"gb_per_s\":%.2f,\"of_peak\":%.3f}",
         (unsigned long long)(t->calls / r->runs), (double)t->ns * 1e-6 / (double)r->runs,
         gflops(t), gb_per_s(t), share_of_peak(t, &r->peak));
}

static void print_json(const report *r) {
  printf("{\"gpu\":");
  print_text(r->loaded->gpu ? weft_gpu_description(r->loaded->gpu) : NULL, true);
  printf(
      ",\"model_ms\":%.3f,\"session_ms\":%.3f,\"first_ms\":%.3f,\"min_ms\":%.3f,\"median_ms\":%.3f,"
      "\"max_ms\":%.3f,\"peak_memory_mib\":%.1f,\"gpu_memory_mib\":%.1f,\"peak_gflops\":%.2f,"
      "\"peak_gb_per_s\":%.2f,\"steps\":[",
      r->loaded->model_ms, r->loaded->session_ms, r->time.first_ms, r->time.min_ms,
      r->time.median_ms, r->time.max_ms, r->time.memory_mib, r->gpu_memory_mib, r->peak.gflops,
      r->peak.gb_per_s);
  for (size_t i = 0; i < r->count; i++) {
    printf(i ? "," : "");
    print_json_step(r, &r->totals[i]);
  }
  printf("]}\n");
}

static bool bench(loaded_model *loaded, void *user) {
  bench_options *options = user;
  bindings b = {0};
  report r = {.loaded = loaded,
              .runs = options->runs + (loaded->gpu ? 0 : options->warmup),
              .timed_runs = options->runs,
              .steps = options->steps};
  loaded->unprofiled = loaded->gpu != NULL;
  bool ok = bindings_open(loaded, &options->inputs, &b) &&
            time_runs(loaded, options, &b, &r.time) && profile_runs(loaded, options, &b);
  total *totals = ok ? sum_profile(loaded, options->steps, &r.count) : NULL;
  if (totals) {
    r.totals = totals;
    r.gpu_memory_mib = (double)weft_session_memory(loaded->session).device_bytes_peak / (1 << 20);
    if (!loaded->gpu)
      r.peak = machine_peak_measure(options->common.threads ? options->common.threads : 1);
    if (options->common.json)
      print_json(&r);
    else
      print_report(&r);
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
      .help = "Times a model on inputs that are given or random, and says where the time goes: "
              "for each\nkernel its speed, and its share of the peak of this machine on as many "
              "threads, measured after\nthe runs.",
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
