/* Tests of the choice between CPU and GPU, on the null driver and by a clock of the test's. */
#include "run/session.h"
#include "tests/gpu/gpu_session.h"

typedef struct choice_rig {
  gpu_rig rig;
  weft_gpu_null_counts counts;
  uint64_t ns, cpu_ns, dispatch_ns; /* see now() */
  uint64_t calls, dispatches;       /* of the driver: at first; at the latest look at the clock */
  proto file;
  weft_choice choice;
} choice_rig;

/* From one look at the clock to the next, each dispatch has taken its time; until the GPU is asked
 * for something, the CPU has. */
static uint64_t now(void *user) {
  choice_rig *r = user;
  const weft_gpu_null_counts *c = &r->counts;
  r->ns += 1000 + (c->dispatches - r->dispatches) * r->dispatch_ns;
  if (c->calls == r->calls) r->ns += r->cpu_ns;
  r->dispatches = c->dispatches;
  return r->ns;
}

static void open_rig(choice_rig *r, proto file, bool is_software) {
  gpu_rig *rig = &r->rig;
  weft_gpu_driver *driver;
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){rig_allocate, rig_release, rig};
  options.clock = (weft_clock){now, r};
  r->file = file;
  CHECK_OK(weft_runtime_open(&options, &rig->runtime, &rig->error), &rig->error);
  CHECK_OK(weft_gpu_null_open(&rig->runtime->heap, NULL, &r->counts, &driver, &rig->error),
           &rig->error);
  driver->facts.is_software = is_software;
  CHECK_OK(weft_gpu_open_driver(&rig->runtime->heap, driver, &rig->gpu, &rig->error), &rig->error);
  weft_source source = {.size = file.length, .bytes = file.bytes};
  CHECK_OK(weft_model_open(rig->runtime, &source, NULL, &rig->model, &rig->error), &rig->error);
  r->calls = r->counts.calls;
}

static void choose(choice_rig *r) {
  weft_chooser *chooser;
  weft_session_options options = weft_session_options_default();
  options.gpu = r->rig.gpu;
  options.consume_model = true;
  weft_error *error = &r->rig.error;
  if (!CHECK_OK(weft_chooser_open(r->rig.model, &options, &chooser, error), error)) return;
  weft_status status;
  while ((status = weft_chooser_run(chooser, &r->choice)) == WEFT_PENDING)
    CHECK_OK(weft_chooser_poll(chooser, true, error), error);
  CHECK_OK(status, error);
  weft_chooser_close(&chooser);
}

static void close_rig(choice_rig *r) {
  rig_close(&r->rig);
  const weft_gpu_null_counts *c = &r->counts;
  CHECK_INT(c->buffers + c->pipelines + c->groups + c->reads, 0);
  CHECK_INT(r->rig.blocks, 0);
  proto_free(&r->file);
}

static void check_choice(choice_rig *r, bool on_gpu, const char *start, const char *part) {
  choose(r);
  CHECK_INT(r->choice.on_gpu, on_gpu);
  const char *why = r->choice.why;
  if (!CHECK(strncmp(why, start, strlen(start)) == 0) || !CHECK(strstr(why, part) != NULL))
    check_print("  %s\n", why);
}

/* x [rows,64] through a product, without caches. */
static proto build_product(void) {
  static const int64_t square[] = {64, 64};
  proto g = {0};
  build_weight(&g, "w", 2, square);
  build_node(&g, "MatMul", "x w", "y", NULL);
  build_value(&g, 11, "x", "1,rows,64");
  build_value(&g, 12, "y", "1,rows,64");
  return build_model(&g);
}

static void test_faster_gpu(void) {
  choice_rig r = {.counts = {.pending = 2}, .cpu_ns = 1000000};
  open_rig(&r, build_product(), false);
  check_choice(&r, true, "GPU: ", " ms on the CPU at a length of 128");
  CHECK(r.counts.dispatches > 1);
  CHECK(strstr(r.choice.why, "token") == NULL);
  close_rig(&r);
}

static void test_faster_cpu(void) {
  choice_rig r = {.cpu_ns = 1000, .dispatch_ns = 3000000};
  open_rig(&r, build_product(), false);
  check_choice(&r, false, "CPU: ", " ms on the GPU at a length of 128");
  close_rig(&r);
}

/* One that takes longer than it may is run once. */
static void test_slow_gpu(void) {
  choice_rig r = {.cpu_ns = 1000, .dispatch_ns = 900000000};
  open_rig(&r, build_product(), false);
  check_choice(&r, false, "CPU: ", " ms on the GPU at a length of 128");
  CHECK_INT(r.counts.dispatches, 1);
  close_rig(&r);
}

/* Its tokens count, too. The model is still whole, and can be opened on either. */
static void test_decoder(void) {
  choice_rig r = {.cpu_ns = 1000000};
  open_rig(&r, build_decoder_file(), false);
  check_choice(&r, true, "GPU: ", " ms for a token");
  for (int side = 0; side < 2; side++) {
    weft_session_options options = weft_session_options_default();
    options.gpu = side ? r.rig.gpu : NULL;
    options.consume_model = side == 1;
    weft_session *session;
    CHECK_OK(weft_session_open(r.rig.model, &options, &session, &r.rig.error), &r.rig.error);
    weft_session_close(&session);
  }
  close_rig(&r);
}

static void test_software(void) {
  choice_rig r = {.cpu_ns = 1000000};
  open_rig(&r, build_product(), true);
  check_choice(&r, false, "CPU: the GPU is one, too: ", "(software)");
  CHECK_INT(r.counts.dispatches, 0);
  close_rig(&r);
}

/* Each call of the driver in turn: the choice falls on the CPU, or is what it would have been. */
static void test_failures(void) {
  for (uint64_t n = 1, more = true; more; n++) {
    choice_rig r = {.cpu_ns = 1000000};
    open_rig(&r, build_product(), false);
    r.counts.fail_call = r.counts.calls + n;
    r.counts.fail_status = n % 2 ? WEFT_OUT_OF_MEMORY : WEFT_DEVICE_LOST;
    choose(&r);
    more = r.counts.calls >= r.counts.fail_call;
    const char *why = r.choice.on_gpu ? "GPU: " : "CPU: the GPU fails: ";
    if (!CHECK(strncmp(r.choice.why, why, strlen(why)) == 0))
      check_print("  call %llu: %s\n", (unsigned long long)n, r.choice.why);
    close_rig(&r);
  }
}

/* Weights that are alike stand for one another once enough are packed. */
static void test_samples(void) {
  static const int64_t square[] = {128, 128};
  proto g = {0};
  for (int i = 0; i < 6; i++) {
    char weight[8], in[24], out[8];
    snprintf(weight, sizeof weight, "w%d", i);
    snprintf(in, sizeof in, "%s%d %s", i ? "t" : "x", i, weight);
    snprintf(out, sizeof out, "t%d", i + 1);
    build_weight(&g, weight, 2, square);
    build_node(&g, "MatMul", in, out, NULL);
  }
  build_value(&g, 11, "x0", "rows,128");
  build_value(&g, 12, "t6", "rows,128");
  choice_rig r = {0};
  open_rig(&r, build_model(&g), false);
  weft_error *error = &r.rig.error;
  weft_session_options options = weft_session_options_default();
  uint64_t bytes[2];
  for (int i = 0; i < 2; i++) {
    weft_session *session;
    CHECK_OK(weft_session_open_sample(r.rig.model, &options, i ? 1 : 0, &session, error), error);
    bytes[i] = weft_session_memory(session).bytes;
    int64_t dims[] = {3, 128};
    weft_tensor *x;
    CHECK_OK(weft_tensor_open(r.rig.runtime, WEFT_F32, dims, 2, &x, error), error);
    weft_binding in = {"x0", x}, out = {"t6", NULL};
    CHECK_OK(weft_session_run(session, NULL, &in, 1, &out, 1, error), error);
    weft_tensor_close(&x);
    weft_session_close(&session);
  }
  CHECK(bytes[1] < bytes[0] / 2);
  close_rig(&r);
}

int main(void) {
  CHECK_RUN(test_faster_gpu);
  CHECK_RUN(test_faster_cpu);
  CHECK_RUN(test_slow_gpu);
  CHECK_RUN(test_decoder);
  CHECK_RUN(test_software);
  CHECK_RUN(test_failures);
  CHECK_RUN(test_samples);
  return check_result();
}
