/* Faults of a GPU, on the null driver and whole sessions: every call of the driver fails in turn,
 * in each of the ways in which it can, and so does every allocation of the host. Each must end in
 * that failure with its message, or in success; the session goes on after all but a lost device,
 * and nothing is left open. */
#include "tests/gpu/gpu_session.h"

static proto file;
static const int64_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
static const int64_t tokens[] = {5, 1, 2}; /* of each run */
enum { RUNS = 3 };

#ifdef WEFT_SANITIZED
enum { SPARSE = 5 };
#else
enum { SPARSE = 1 };
#endif

typedef struct fault_case {
  const char *name;
  weft_status status; /* of the driver's failure */
  uint32_t pending;
  weft_tune tune;
  uint64_t stride; /* from one call that fails to the next */
  bool profile;
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
  session_options = (weft_session_options){.tune = fault->tune, .profile = fault->profile};
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
      {"memory, pending", WEFT_OUT_OF_MEMORY, 1, WEFT_TUNE_OFF, 1, false},
      {"validation, pending", WEFT_INTERNAL, 2, WEFT_TUNE_OFF, 5, false},
      {"validation, profile", WEFT_INTERNAL, 1, WEFT_TUNE_OFF, 3, true},
      {"lost", WEFT_DEVICE_LOST, 0, WEFT_TUNE_OFF, 1, false},
      {"validation, tuning", WEFT_INTERNAL, 0, WEFT_TUNE_FAST, 61, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t n = 1, hidden = 0;
    while (fail_call(&cases[i], n, &hidden)) n += cases[i].stride * SPARSE;
    CHECK(n > 100 && hidden < n / 4);
    check_print("%s: calls up to %llu failed in turn, %llu without harm\n", cases[i].name,
                (unsigned long long)n - 1, (unsigned long long)hidden);
  }
}

/* ---- a kernel that does not compile ---------------------------------------------------------- */

/* The null driver, but for one kernel. */
static weft_gpu_driver plain;
static weft_gpu_id refused_pipeline;
static char refused_label[64];

static weft_status refuse(weft_error *error) {
  return weft_fail(error, WEFT_INTERNAL, "the GPU's compiler refuses %s", refused_label);
}
static weft_status open_pipeline(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                                 weft_gpu_id *out, weft_error *error) {
  weft_status status = plain.pipeline_open(driver, pipeline, out, error);
  if (status != WEFT_OK || !contains(pipeline->label, "for node 'probabilities'")) return status;
  refused_pipeline = *out;
  snprintf(refused_label, sizeof refused_label, "%s", pipeline->label);
  return WEFT_OK;
}
static weft_status pipeline_state(weft_gpu_driver *driver, weft_gpu_id id, weft_error *error) {
  return id == refused_pipeline ? refuse(error) : plain.pipeline_state(driver, id, error);
}
static weft_status open_group(weft_gpu_driver *driver, weft_gpu_id id, const weft_gpu_id *buffers,
                              uint32_t count, weft_gpu_id *out, weft_error *error) {
  return id == refused_pipeline ? refuse(error)
                                : plain.group_open(driver, id, buffers, count, out, error);
}

/* y = x @ w */
static weft_status run_product(gpu_rig *rig) {
  static const int64_t square[] = {WIDTH, WIDTH}, row[] = {1, WIDTH};
  proto g = {0};
  build_weight(&g, "w", 2, square);
  build_node(&g, "MatMul", "x w", "y", NULL);
  build_value(&g, 11, "x", "rows,8");
  build_value(&g, 12, "y", "rows,8");
  proto product = build_model(&g);
  gpu_rig other = {.runtime = rig->runtime, .gpu = rig->gpu};
  weft_tensor *x = NULL;
  CHECK_OK(rig_open_session(&other, &product, &session_options), &other.error);
  CHECK_OK(rig_prepare(&other), &other.error);
  CHECK_OK(weft_tensor_open(rig->runtime, WEFT_F32, row, 2, &x, &other.error), &other.error);
  weft_binding input = {"x", x}, output = {"y", NULL};
  weft_status status = weft_session_run(other.session, NULL, &input, 1, &output, 1, &other.error);
  status = rig_finish(&other, status);
  weft_tensor_close(&x);
  weft_session_close(&other.session);
  weft_model_close(&other.model);
  proto_free(&product);
  return status;
}

/* Who prepares is told, and who uses it; others on the GPU are not concerned. */
static void test_a_kernel_that_does_not_compile(void) {
  static const char says[] = "the GPU's compiler refuses softmax for node 'probabilities'";
  trial t = {0};
  char blamed[256];
  session_options = (weft_session_options){0};
  CHECK_OK(open_runtime(&t, 0), &t.rig.error);
  CHECK_OK(open_gpu(&t, 0), &t.rig.error);
  weft_gpu_driver *driver = t.rig.gpu->driver;
  plain = *driver;
  driver->pipeline_open = open_pipeline;
  driver->pipeline_state = pipeline_state;
  driver->group_open = open_group;
  CHECK_OK(open_session(&t, 0), &t.rig.error);
  CHECK_INT(prepare(&t, 0), WEFT_INTERNAL);
  CHECK_TEXT(t.rig.error.message, says);
  CHECK_OK(run_product(&t.rig), &t.rig.error);
  CHECK_INT(step(&t, 0), WEFT_INTERNAL);
  snprintf(blamed, sizeof blamed, "node 'probabilities' (softmax, on the GPU): %s", says);
  CHECK_TEXT(t.rig.error.message, blamed);
  CHECK_OK(run_product(&t.rig), &t.rig.error);
  close_all(&t, 0);
}

/* ---- the host's memory ----------------------------------------------------------------------- */

/* False: there was no allocation n. */
static bool fail_allocation(int64_t n) {
  trial t = {.rig.fails_at = n};
  session_options = (weft_session_options){.tune = WEFT_TUNE_OFF};
  try_all(&t);
  CHECK(t.failure == WEFT_OK || t.failure == WEFT_OUT_OF_MEMORY);
  bool reached = t.rig.calls >= n;
  close_all(&t, (uint64_t)n);
  return reached;
}

static void test_every_allocation_fails(void) {
  int64_t n = 1;
  while (fail_allocation(n)) n++;
  CHECK(n > 100);
  check_print("%lld allocations failed in turn\n", (long long)n - 1);
}

/* A session under ever higher limits, until it suffices. */
static void test_memory_limits(void) {
  uint32_t refused = 0;
  weft_status status = WEFT_LIMIT_EXCEEDED;
  for (uint64_t limit = 1024; status != WEFT_OK && limit < 1 << 24; limit += limit / 4) {
    trial t = {0};
    session_options = (weft_session_options){.memory_limit = limit};
    CHECK_OK(open_runtime(&t, 0), &t.rig.error);
    CHECK_OK(open_gpu(&t, 0), &t.rig.error);
    status = open_session(&t, 0);
    if (status == WEFT_OK) status = prepare(&t, 0);
    for (int i = 0; i < RUNS && status == WEFT_OK; i++) status = step(&t, i);
    if (!CHECK(status == WEFT_OK || status == WEFT_LIMIT_EXCEEDED))
      check_print("  %s\n", t.rig.error.message);
    refused += status != WEFT_OK;
    close_all(&t, limit);
  }
  CHECK(status == WEFT_OK && refused > 5);
}

/* ---- runs that end early --------------------------------------------------------------------- */

static void open_parts(trial *t, uint32_t pending) {
  *t = (trial){.counts = {.pending = pending}};
  session_options = (weft_session_options){0};
  CHECK_OK(open_runtime(t, 0), &t->rig.error);
  CHECK_OK(open_gpu(t, 0), &t->rig.error);
  CHECK_OK(open_session(t, 0), &t->rig.error);
}

static void open_all(trial *t, uint32_t pending) {
  open_parts(t, pending);
  CHECK_OK(step(t, 0), &t->rig.error);
}

/* After each of the polls that a run has; then the same step comes out. */
static void check_cancelled(bool profile) {
  trial t = {.counts = {.pending = 3}};
  session_options = (weft_session_options){.profile = profile};
  try_all(&t);
  for (int i = 0; i < 2; i++) CHECK_OK(step(&t, 1), &t.rig.error); /* the first one compiles */
  uint64_t polls = t.rig.polls;
  CHECK(polls >= 3);
  for (t.rig.cancel_at = 1; t.rig.cancel_at <= polls; t.rig.cancel_at++) {
    uint64_t at = t.rig.cancel_at;
    CHECK_INT(step(&t, 1), WEFT_CANCELLED);
    t.rig.cancel_at = 0;
    CHECK_OK(step(&t, 1), &t.rig.error);
    CHECK_INT(t.counts.reads, 0);
    t.rig.cancel_at = at;
  }
  close_all(&t, 0);
}
static void test_cancelled_while_pending(void) {
  check_cancelled(false);
  check_cancelled(true);
}

static void test_time_limit_while_pending(void) {
  trial t;
  open_all(&t, 3);
  t.rig.options.time_limit_ns = 1;
  CHECK_INT(step(&t, 1), WEFT_TIMED_OUT);
  CHECK_TEXT(t.rig.error.message, "the run's time limit has passed");
  t.rig.options.time_limit_ns = 0;
  CHECK_OK(step(&t, 1), &t.rig.error);
  close_all(&t, 0);
}

/* With a run, a fetch or a preparation under way. */
static void test_closed_while_pending(void) {
  trial t;
  open_all(&t, 0);
  t.counts.pending = 1000000;
  CHECK_INT(rig_start(&t.rig, ids, 1), WEFT_PENDING);
  close_all(&t, 0);

  open_all(&t, 0);
  t.counts.pending = 1000000;
  CHECK_INT(weft_tensor_fetch(t.rig.past[0], &t.rig.error), WEFT_PENDING);
  close_all(&t, 0);

  open_parts(&t, 1000000);
  CHECK_INT(weft_session_prepare(t.rig.session, &t.rig.error), WEFT_PENDING);
  close_all(&t, 0);
}

/* ---- what is told of a session ----------------------------------------------------------------
 */

/* Every buffer of the GPU is one of its sessions'. */
static void test_memory_is_counted(void) {
  trial t;
  weft_session *second = NULL;
  open_all(&t, 0);
  weft_memory_use first = weft_session_memory(t.rig.session);
  CHECK(first.device_bytes > VOCABULARY * WIDTH * sizeof(float));
  CHECK_INT(first.device_bytes, t.counts.buffer_bytes);
  weft_session_options options = {.gpu = t.rig.gpu};
  CHECK_OK(weft_session_open(t.rig.model, &options, &second, &t.rig.error), &t.rig.error);
  CHECK_INT(first.device_bytes + weft_session_memory(second).device_bytes, t.counts.buffer_bytes);
  weft_session_close(&second);
  CHECK_INT(first.device_bytes, t.counts.buffer_bytes);
  for (int i = 0; i < RUNS; i++) CHECK_OK(step(&t, i), &t.rig.error);
  weft_memory_use last = weft_session_memory(t.rig.session);
  CHECK_INT(last.device_bytes, t.counts.buffer_bytes);
  CHECK(last.device_bytes_peak >= last.device_bytes && last.device_bytes > first.device_bytes);
  close_all(&t, 0);
  CHECK_INT(t.counts.buffer_bytes, 0);
}

/* The null GPU's clock goes on by 1000 ns per timestamp. */
static void check_profile(bool timestamps) {
  trial t = {.counts = {.pending = 1}};
  gpu_rig *rig = &t.rig;
  weft_gpu_driver *driver;
  session_options = (weft_session_options){.profile = true};
  CHECK_OK(open_runtime(&t, 0), &rig->error);
  weft_heap *heap = &rig->runtime->heap;
  CHECK_OK(weft_gpu_null_open(heap, NULL, &t.counts, &driver, &rig->error), &rig->error);
  driver->facts.timestamps = timestamps;
  CHECK_OK(weft_gpu_open_driver(heap, driver, &rig->gpu, &rig->error), &rig->error);
  CHECK_OK(open_session(&t, 0), &rig->error);
  for (int i = 0; i < 3; i++) {
    rig->options.unprofiled = i == 2;
    for (int k = 0; k < 2; k++) weft_tensor_close(&rig->past[k]); /* the same plan each time */
    CHECK_OK(step(&t, 0), &rig->error);
  }
  uint32_t timed = 0;
  weft_profile_entry entry;
  for (size_t i = 0; weft_session_profile_entry(rig->session, i, &entry) == WEFT_OK; i++) {
    CHECK_INT(entry.calls, 2);
    bool is_product = strcmp(entry.op, "matmul") == 0;
    if (is_product) CHECK(timestamps ? entry.total_ns == 2000 : entry.total_ns > 0);
    timed += is_product;
  }
  CHECK(timed > 2);
  CHECK_INT(t.counts.reads, 0);
  close_all(&t, 0);
}
static void test_profile(void) {
  check_profile(true);
  check_profile(false);
}

/* ---- after a loss ---------------------------------------------------------------------------- */

static void lose(trial *t) {
  t->counts.fail_call = t->counts.calls + 1;
  t->counts.fail_status = WEFT_DEVICE_LOST;
  CHECK_INT(weft_session_poll(t->rig.session, false, &t->rig.error), WEFT_DEVICE_LOST);
}

static void write_nothing(void *user, const char *text, size_t length) {
  (void)user, (void)text, (void)length;
}

#define CHECK_LOST(call) CHECK_INT(call, WEFT_DEVICE_LOST)

/* Every public function answers, and nothing is left. */
static void test_all_functions_after_a_loss(void) {
  static const int64_t dims[] = {1, 2, 0, 4};
  trial t;
  open_all(&t, 0);
  gpu_rig *rig = &t.rig;
  weft_error *error = &rig->error;
  weft_tensor *share = NULL, *wrapped = NULL;
  weft_session *other = NULL;
  weft_profile_entry entry;
  lose(&t);
  CHECK_LOST(step(&t, 1));
  CHECK_TEXT(error->message, "the GPU was lost, and with it the session's weights: open both anew");
  CHECK_LOST(weft_session_prepare(rig->session, error));
  CHECK_LOST(weft_session_poll(rig->session, true, error));
  CHECK_INT(weft_session_resume(rig->session, error), WEFT_INVALID_ARGUMENT);
  weft_session_cancel(rig->session);
  CHECK_OK(weft_session_dump(rig->session, WEFT_DUMP_GRAPH, write_nothing, NULL, error), error);
  CHECK_OK(weft_session_dump(rig->session, WEFT_DUMP_PLAN, write_nothing, NULL, error), error);
  CHECK_INT(weft_session_profile_count(rig->session), 0);
  CHECK_INT(weft_session_profile_entry(rig->session, 0, &entry), WEFT_INVALID_ARGUMENT);
  CHECK(weft_session_memory(rig->session).bytes > 0);
  CHECK_LOST(weft_tensor_fetch(rig->past[0], error));
  CHECK(weft_tensor_on_device(rig->past[0]) && weft_tensor_data(rig->past[0]) == NULL);
  CHECK_OK(weft_tensor_share(rig->past[0], &share, error), error);
  CHECK_LOST(weft_tensor_fetch(share, error));
  CHECK_OK(weft_tensor_wrap_memory(rig->session, WEFT_F32, dims, 4, 1, &wrapped, error), error);
  weft_tensor_close(&share);
  weft_tensor_close(&wrapped);
  weft_gpu_write_tuning(rig->gpu, write_nothing, NULL);
  CHECK_INT(weft_gpu_read_tuning(rig->gpu, "x", 1, error), WEFT_INVALID_DATA);
  CHECK(weft_gpu_description(rig->gpu)[0]);
  weft_session_options options = {.gpu = rig->gpu};
  CHECK_LOST(weft_session_open(rig->model, &options, &other, error));
  CHECK(other == NULL);
  close_all(&t, 0);
}

/* A new GPU and session take over, but for the caches that lay on the old one. */
static void test_caches_of_a_lost_gpu(void) {
  trial old, fresh;
  open_all(&old, 0);
  lose(&old);
  open_all(&fresh, 0);
  for (int i = 0; i < 2; i++) {
    weft_tensor_close(&fresh.rig.past[i]);
    CHECK_OK(weft_tensor_share(old.rig.past[i], &fresh.rig.past[i], &old.rig.error),
             &old.rig.error);
  }
  CHECK_LOST(step(&fresh, 1));
  CHECK_TEXT(fresh.rig.error.message,
             "input 'past_k': the tensor's contents are gone with the GPU that was lost");
  for (int i = 0; i < 2; i++) weft_tensor_close(&fresh.rig.past[i]);
  CHECK_OK(step(&fresh, 1), &fresh.rig.error);
  close_all(&fresh, 0);
  close_all(&old, 0);
}

/* Sessions on one GPU: all of them are lost at once, whoever notices. */
static void test_a_loss_is_everybodys(void) {
  trial t;
  weft_session *second = NULL;
  open_all(&t, 0);
  weft_session_options options = {.gpu = t.rig.gpu};
  CHECK_OK(weft_session_open(t.rig.model, &options, &second, &t.rig.error), &t.rig.error);
  lose(&t);
  CHECK_LOST(weft_session_prepare(second, &t.rig.error));
  weft_session_close(&second);
  close_all(&t, 0);
}

int main(void) {
  file = build_decoder_file();
  CHECK_RUN(test_every_call_fails);
  CHECK_RUN(test_a_kernel_that_does_not_compile);
  CHECK_RUN(test_every_allocation_fails);
  CHECK_RUN(test_memory_limits);
  CHECK_RUN(test_cancelled_while_pending);
  CHECK_RUN(test_time_limit_while_pending);
  CHECK_RUN(test_closed_while_pending);
  CHECK_RUN(test_memory_is_counted);
  CHECK_RUN(test_profile);
  CHECK_RUN(test_all_functions_after_a_loss);
  CHECK_RUN(test_caches_of_a_lost_gpu);
  CHECK_RUN(test_a_loss_is_everybodys);
  proto_free(&file);
  return check_result();
}
