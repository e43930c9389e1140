/* Faults of a GPU, on the null driver and whole sessions: every call of the driver fails in turn,
 * in each of the ways in which it can, and so does every allocation of the host. Each must end in
 * that failure with its message, or in success; the session goes on after all but a lost device,
 * and nothing is left open. */
#include "tests/gpu/gpu_session.h"

static proto file;
static const int64_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
static const int64_t tokens[] = {5, 1, 2}; /* of each run */
enum { RUNS = 3 };

typedef struct fault_case {
  const char *name;
  weft_status status; /* of the driver's failure */
  uint32_t pending;
  weft_tune tune;
} fault_case;

typedef struct trial {
  gpu_rig rig;
  weft_gpu_null_counts counts;
  weft_status failure; /* the first one */
  weft_error error;    /* its message */
} trial;

/* What is tried again after a failure that may pass. */
typedef weft_status part_fn(trial *t, int number);

static weft_status open_gpu(trial *t, int number) {
  (void)number;
  weft_gpu_driver *driver;
  gpu_rig *rig = &t->rig;
  WEFT_TRY(weft_gpu_null_open(&rig->runtime->heap, NULL, &t->counts, &driver, &rig->error));
  return weft_gpu_open_driver(&rig->runtime->heap, driver, &rig->gpu, &rig->error);
}
static weft_status open_runtime(trial *t, int number) {
  (void)number;
  return rig_open_runtime(&t->rig);
}
static weft_session_options session_options;
static weft_status open_session(trial *t, int number) {
  (void)number;
  weft_model_close(&t->rig.model);
  return rig_open_session(&t->rig, &file, &session_options);
}
static weft_status prepare(trial *t, int number) {
  (void)number;
  return rig_prepare(&t->rig);
}
static weft_status step(trial *t, int number) {
  rig_results out;
  return rig_step(&t->rig, ids, tokens[number], &out);
}

static weft_status try_part(trial *t, part_fn *part, int number) {
  weft_status status = part(t, number);
  if (status == WEFT_OK) return WEFT_OK;
  t->failure = status;
  t->error = t->rig.error;
  CHECK(t->error.status == status && t->error.message[0]);
  if (status == WEFT_DEVICE_LOST) return status;
  if (!CHECK_OK(part(t, number), &t->rig.error)) check_print("  after: %s\n", t->error.message);
  return WEFT_OK;
}

/* All there is, each part once more where it failed. */
static void try_all(trial *t) {
  static part_fn *const parts[] = {open_runtime, open_gpu, open_session, prepare, step, step, step};
  for (int i = 0; i < 4 + RUNS; i++)
    if (try_part(t, parts[i], i - 4) != WEFT_OK) break;
}

static void close_all(trial *t, uint64_t n) {
  rig_close(&t->rig);
  const weft_gpu_null_counts *c = &t->counts;
  if (!CHECK_INT(c->buffers + c->pipelines + c->groups + c->reads, 0) ||
      !CHECK_INT(t->rig.blocks, 0))
    check_print("  failure %llu: %s\n", (unsigned long long)n, t->error.message);
}

/* ---- the driver's calls ---------------------------------------------------------------------- */

static bool contains(const char *text, const char *part) {
  return strstr(text, part) != NULL;
}

/* False: there was no call n. */
static bool fail_call(const fault_case *fault, uint64_t n, uint64_t *hidden) {
  trial t = {0};
  session_options = (weft_session_options){.tune = fault->tune};
  t.counts = (weft_gpu_null_counts){
      .fail_call = n, .fail_status = fault->status, .pending = fault->pending};
  try_all(&t);
  bool reached = t.counts.calls >= n;
  if (reached && t.failure == WEFT_OK) {
    /* What was only meant to save time later is left out. */
    ++*hidden;
    CHECK(fault->status != WEFT_DEVICE_LOST);
  } else if (reached) {
    char cause[64];
    snprintf(cause, sizeof cause, "the null GPU fails call %llu", (unsigned long long)n);
    bool good = CHECK_INT(t.failure, fault->status);
    if (!CHECK(contains(t.error.message, cause) || contains(t.error.message, "lost")) || !good)
      check_print("  call %llu, %s: %s\n", (unsigned long long)n, fault->name, t.error.message);
  } else {
    CHECK_OK(t.failure, &t.error);
  }
  close_all(&t, n);
  return reached;
}

static void test_every_call_fails(void) {
  static const fault_case cases[] = {
      {"memory", WEFT_OUT_OF_MEMORY, 0, WEFT_TUNE_OFF},
      {"validation, pending", WEFT_INTERNAL, 2, WEFT_TUNE_OFF},
      {"lost, pending", WEFT_DEVICE_LOST, 1, WEFT_TUNE_OFF},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t n = 1, hidden = 0;
    while (fail_call(&cases[i], n, &hidden)) n++;
    CHECK(n > 100 && hidden < n / 4);
    check_print("%s: %llu calls failed in turn, %llu without harm\n", cases[i].name,
                (unsigned long long)n - 1, (unsigned long long)hidden);
  }
}

int main(void) {
  file = build_decoder_file();
  CHECK_RUN(test_every_call_fails);
  proto_free(&file);
  return check_result();
}
