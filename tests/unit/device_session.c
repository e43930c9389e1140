/* Tests of sessions on a device with memory of its own: results as on the CPU, tensors that stay on
 * the device, weights in one place, runs that are pending, faults of the device. */
#include "tests/unit/cache_build.h"

#include "tests/model_build.h"

/* ---- an encoder's session -------------------------------------------------------------------- */

enum { TOKENS = 5, FLOATS = 2 * TOKENS * 8 };
static const int64_t x_dims[] = {2, TOKENS, 8};

typedef struct encoder {
  counter memory;
  weft_runtime *runtime;
  proto file;
  weft_model *model;
  weft_session *session;
  fake *device;
  weft_error error;
  float x_data[FLOATS];
  weft_tensor x;
} encoder;

static weft_status open_session(encoder *e, const weft_session_options *options) {
  return weft_session_open_device(e->model, options, fake_seed ? open_fake : NULL, &e->device,
                                  &e->session, &e->error);
}

static void encoder_load(encoder *e) {
  memset(e, 0, sizeof *e);
  e->file = build_encoder();
  weft_runtime_options runtime = weft_runtime_options_default();
  runtime.allocator = (weft_allocator){count_allocate, count_release, &e->memory};
  CHECK_OK(weft_runtime_open(&runtime, &e->runtime, &e->error), &e->error);
  weft_source source = {.size = e->file.length, .bytes = e->file.bytes};
  CHECK_OK(weft_model_open(e->runtime, &source, NULL, &e->model, &e->error), &e->error);
  fill_random((uint8_t *)e->x_data, WEFT_F32, FLOATS, 3);
  weft_tensor_point(&e->x, WEFT_F32, x_dims, 3, e->x_data, sizeof e->x_data, NULL);
}

static void encoder_open(encoder *e, uint64_t seed) {
  encoder_load(e);
  fake_seed = seed;
  weft_session_options options = {.kernels = "reference"};
  CHECK_OK(open_session(e, &options), &e->error);
}

static void encoder_close(encoder *e) {
  weft_session_close(&e->session);
  weft_model_close(&e->model);
  weft_runtime_close(&e->runtime);
  CHECK_INT(e->memory.blocks, 0);
  proto_free(&e->file);
}

/* Both outputs, in the session's tensors. */
static weft_status encode(encoder *e, const bool *on_device, weft_tensor *x, weft_binding *out) {
  weft_run_options options = {.outputs_on_device = on_device};
  weft_binding input = {"x", x};
  out[0] = (weft_binding){"y", NULL};
  out[1] = (weft_binding){"hidden", NULL};
  return run_session(e->session, &options, &input, 1, out, 2, &e->error);
}

/* What the CPU says for x, and for its y fed again. */
static void expect(float y[2][FLOATS], float hidden[2][FLOATS]) {
  encoder e;
  weft_binding out[2];
  encoder_open(&e, 0);
  for (int i = 0; i < 2; i++) {
    CHECK_OK(encode(&e, NULL, &e.x, out), &e.error);
    memcpy(y[i], weft_tensor_data(out[0].tensor), sizeof y[i]);
    memcpy(hidden[i], weft_tensor_data(out[1].tensor), sizeof hidden[i]);
    memcpy(e.x_data, y[i], sizeof e.x_data);
  }
  encoder_close(&e);
}
static float expected_y[2][FLOATS], expected_hidden[2][FLOATS];

static bool is_expected(weft_tensor *tensor, const float *expected) {
  const void *data = data_of(tensor);
  return CHECK(data != NULL) && CHECK_INT(memcmp(data, expected, FLOATS * sizeof *expected), 0);
}

static void test_results_are_the_cpus(void) {
  for (uint64_t seed = 1; seed <= 40; seed++) {
    encoder e;
    weft_binding out[2];
    encoder_open(&e, seed);
    for (int run = 0; run < 2; run++) {
      CHECK_OK(encode(&e, NULL, &e.x, out), &e.error);
      CHECK(!weft_tensor_on_device(out[0].tensor) && !weft_tensor_on_device(out[1].tensor));
      is_expected(out[0].tensor, expected_y[0]);
      is_expected(out[1].tensor, expected_hidden[0]);
    }
    encoder_close(&e);
  }
}

/* The same tokens on two sessions: every y and every cache, bit for bit. */
static void test_decoders_are_the_cpus(void) {
  static history whole; /* large */
  for (uint64_t seed = 1; seed <= 12; seed++) {
    decoder_options options = {.layers = 2, .heads = 2, .size = 4, .total = seed % 2};
    decoder cpu, there;
    fake_seed = 0;
    decoder_open(&cpu, options, 0);
    fake_seed = seed;
    decoder_open(&there, options, 0);
    memset(&whole, 0, sizeof whole);
    whole.d = &cpu;
    caches a = empty_caches(&cpu), b = empty_caches(&there), empty_a = a, empty_b = b;
    for (int64_t past = 0, step = 60; past < 130; past += step, step = 1) {
      while (whole.rows < past + step) history_add(&whole, (int64_t)seed);
      CHECK_OK(run_step(&cpu, cpu.session, &whole, NULL, past, step, &a, &a), &cpu.error);
      CHECK_OK(run_step(&there, there.session, &whole, NULL, past, step, &b, &b), &there.error);
    }
    for (int64_t c = 0; c < cache_count(&cpu); c++)
      CHECK_INT(memcmp(weft_tensor_data(a.at[c]), data_of(b.at[c]), weft_tensor_bytes(a.at[c])), 0);
    close_caches(&empty_a);
    close_caches(&empty_b);
    decoder_close(&cpu);
    decoder_close(&there);
  }
}

/* ---- tensors on the device ------------------------------------------------------------------- */

static void test_outputs_stay_there(void) {
  encoder e;
  weft_binding out[2], again[2];
  encoder_open(&e, 7);
  CHECK_OK(encode(&e, (bool[]){true, false}, &e.x, out), &e.error);
  uint64_t downloads = e.device->downloads;
  CHECK_INT(downloads, 1); /* hidden alone */
  weft_tensor *y = NULL;
  CHECK_OK(weft_tensor_share(out[0].tensor, &y, &e.error), &e.error);
  CHECK(weft_tensor_on_device(y) && !weft_tensor_on_device(out[1].tensor));
  CHECK(weft_tensor_data(y) == NULL && weft_tensor_memory(y) != 0);
  is_expected(out[1].tensor, expected_hidden[0]);

  uint64_t uploads = e.device->uploads;
  CHECK_OK(encode(&e, (bool[]){true, true}, y, again), &e.error); /* fed where it lies */
  CHECK_INT(e.device->uploads, uploads);
  CHECK_INT(e.device->downloads, downloads);
  is_expected(again[0].tensor, expected_y[1]);
  is_expected(again[1].tensor, expected_hidden[1]);
  is_expected(y, expected_y[0]); /* shared, so that it was not written over */

  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, again), &e.error);
  is_expected(again[0].tensor, expected_y[0]); /* not what was fetched of the run before */
  weft_session_close(&e.session);
  is_expected(y, expected_y[0]);
  weft_tensor_close(&y);
  encoder_close(&e);
}

static void test_a_fetch_can_be_left(void) {
  encoder e;
  weft_binding out[2];
  encoder_open(&e, 7); /* reads answer late */
  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, out), &e.error);
  weft_tensor *share = NULL;
  CHECK_INT(weft_tensor_fetch(out[0].tensor, &e.error), WEFT_PENDING);
  CHECK_OK(weft_tensor_share(out[0].tensor, &share, &e.error), &e.error);
  CHECK_INT(weft_tensor_fetch(share, &e.error), WEFT_PENDING);
  weft_tensor_close(&share);
  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, out), &e.error);
  CHECK_INT(weft_tensor_fetch(out[1].tensor, &e.error), WEFT_PENDING);
  encoder_close(&e);
}

static void test_the_callers_memory(void) {
  encoder e;
  encoder_open(&e, 7);
  const weft_device *device = &e.device->device;
  weft_memory memory[2];
  weft_tensor *x = NULL, *y = NULL, *small = NULL;
  for (int i = 0; i < 2; i++)
    CHECK_OK(device->memory_open(device, sizeof e.x_data, &memory[i], &e.error), &e.error);
  device->memory_write(device, memory[0], 0, e.x_data, sizeof e.x_data, NULL);
  CHECK_OK(weft_tensor_wrap_memory(e.session, WEFT_F32, x_dims, 3, memory[0], &x, &e.error),
           &e.error);
  CHECK_OK(weft_tensor_wrap_memory(e.session, WEFT_F32, x_dims, 3, memory[1], &y, &e.error),
           &e.error);
  weft_binding input = {"x", x}, output = {"y", y};
  CHECK_OK(run_session(e.session, NULL, &input, 1, &output, 1, &e.error), &e.error);
  is_expected(y, expected_y[0]);
  input.tensor = y;
  output.tensor = x;
  CHECK_OK(run_session(e.session, NULL, &input, 1, &output, 1, &e.error), &e.error);
  is_expected(x, expected_y[1]);
  CHECK_INT(weft_tensor_wrap_memory(e.session, WEFT_F32, x_dims, 3, 0, &small, &e.error),
            WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(e.error.message, "tensor: there is no memory 0 of a device in this session");
  weft_tensor_close(&x);
  weft_tensor_close(&y);
  for (int i = 0; i < 2; i++) device->memory_close(device, memory[i]);
  encoder_close(&e);
}

/* Sessions on one GPU know each other's tensors; others do not. */
static void test_tensors_of_other_sessions(void) {
  encoder e, other;
  weft_binding out[2], in = {"x", NULL}, y = {"y", NULL};
  encoder_open(&e, 7);
  encoder_open(&other, 1);
  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, out), &e.error);
  in.tensor = out[0].tensor;
  CHECK_INT(run_session(other.session, NULL, &in, 1, &y, 1, &other.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(other.error.message,
             "input 'x': the tensor lies in the memory of a GPU that this session does not use, "
             "and was not fetched");
  y.tensor = out[0].tensor;
  in.tensor = &other.x;
  CHECK_INT(run_session(other.session, NULL, &in, 1, &y, 1, &other.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(other.error.message, "output 'y': the tensor given lies in the memory of a GPU that "
                                  "this session does not use");
  is_expected(out[0].tensor, expected_y[0]); /* fetched: it can be fed anywhere */
  in.tensor = out[0].tensor;
  y.tensor = NULL;
  CHECK_OK(run_session(other.session, NULL, &in, 1, &y, 1, &other.error), &other.error);
  is_expected(y.tensor, expected_y[1]);
  encoder_close(&other);

  fake_store = e.device; /* the same GPU */
  encoder_open(&other, 7);
  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, out), &e.error);
  in.tensor = out[0].tensor;
  y.tensor = NULL;
  CHECK_OK(run_session(other.session, NULL, &in, 1, &y, 1, &other.error), &other.error);
  CHECK_INT(other.device->uploads, 0);
  is_expected(y.tensor, expected_y[1]);
  y.tensor = out[1].tensor;
  in.tensor = &other.x;
  CHECK_OK(run_session(other.session, NULL, &in, 1, &y, 1, &other.error), &other.error);
  is_expected(out[1].tensor, expected_y[0]);
  fake_store = NULL;
  encoder_close(&other);
  encoder_close(&e);
}

/* ---- weights --------------------------------------------------------------------------------- */

static uint64_t host_bytes(const weft_graph *graph, uint64_t *there) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < graph->value_count; i++) {
    const weft_buffer *data = graph->values[i].data;
    if (graph->values[i].kind != WEFT_VALUE_CONSTANT || !data) continue;
    if (data->data) bytes += data->bytes;
    if (data->memory) *there += data->bytes;
  }
  return bytes;
}

static void test_weights_are_where_they_are_read(void) {
  encoder e;
  uint64_t there = 0;
  encoder_load(&e);
  fake_seed = 7; /* refuses nothing, keeps nothing small on the host */
  weft_session_options options = {.consume_model = true};
  CHECK_OK(open_session(&e, &options), &e.error);
  uint64_t here = host_bytes(&e.session->graph, &there);
  CHECK(here < 100); /* shapes */
  CHECK(there > 4 * (4 * 64 + 2 * 128) && e.device->memory_bytes >= there);
  CHECK_INT(e.device->uploads, 0); /* those are a run's */
  encoder_close(&e);

  there = 0;
  encoder_load(&e);
  fake_seed = 12; /* refuses five of eight, and keeps small ones on both sides */
  CHECK_OK(open_session(&e, &options), &e.error);
  here = host_bytes(&e.session->graph, &there);
  CHECK(here > 0 && there > 0);
  encoder_close(&e);
}

/* ---- runs that are pending ------------------------------------------------------------------- */

static void test_pending(void) {
  encoder e;
  weft_binding input, out = {"y", NULL};
  encoder_open(&e, 7); /* answers late, three times */
  input = (weft_binding){"x", &e.x};
  CHECK_INT(weft_session_run(e.session, NULL, &input, 1, &out, 1, &e.error), WEFT_PENDING);
  CHECK_INT(weft_session_run(e.session, NULL, &input, 1, &out, 1, &e.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(e.error.message, "the session's previous run is not finished");
  CHECK(out.tensor == NULL);
  CHECK_INT(weft_session_resume(e.session, &e.error), WEFT_PENDING);
  CHECK_INT(weft_session_resume(e.session, &e.error), WEFT_PENDING);
  CHECK_OK(weft_session_resume(e.session, &e.error), &e.error);
  is_expected(out.tensor, expected_y[0]);
  CHECK_INT(weft_session_resume(e.session, &e.error), WEFT_INVALID_ARGUMENT);

  out.tensor = NULL;
  CHECK_INT(weft_session_run(e.session, NULL, &input, 1, &out, 1, &e.error), WEFT_PENDING);
  weft_session_cancel(e.session);
  CHECK_INT(weft_session_resume(e.session, &e.error), WEFT_CANCELLED);
  CHECK(out.tensor == NULL);
  CHECK_OK(run_session(e.session, NULL, &input, 1, &out, 1, &e.error), &e.error);
  is_expected(out.tensor, expected_y[0]);

  out.tensor = NULL;
  CHECK_INT(weft_session_run(e.session, NULL, &input, 1, &out, 1, &e.error), WEFT_PENDING);
  encoder_close(&e); /* with a run pending */
}

/* What a pending run works on may be closed. */
static void test_tensors_closed_meanwhile(void) {
  encoder e;
  weft_binding out[2], input = {"x", NULL};
  encoder_open(&e, 7);
  CHECK_OK(encode(&e, (bool[]){true, true}, &e.x, out), &e.error);
  weft_tensor *share = NULL, *given = NULL;
  CHECK_OK(weft_tensor_share(out[0].tensor, &share, &e.error), &e.error);
  CHECK_OK(weft_tensor_open(e.runtime, WEFT_F32, x_dims, 3, &given, &e.error), &e.error);
  input.tensor = share;
  weft_binding y[2] = {{"y", given}, {"hidden", NULL}};
  CHECK_INT(weft_session_run(e.session, NULL, &input, 1, y, 2, &e.error), WEFT_PENDING);
  weft_tensor_close(&share);
  weft_tensor_close(&given);
  weft_status status;
  while ((status = weft_session_resume(e.session, &e.error)) == WEFT_PENDING) continue;
  CHECK_OK(status, &e.error);
  is_expected(y[1].tensor, expected_hidden[1]);
  encoder_close(&e);
}

/* A decode step that is cancelled while it waits leaves its caches as they were. */
static void test_a_cancelled_step(void) {
  static history whole;
  decoder d;
  fake_seed = 7;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
  memset(&whole, 0, sizeof whole);
  whole.d = &d;
  while (whole.rows < 8) history_add(&whole, 1);
  caches empty = empty_caches(&d), c = {0};
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 0, 7, &empty, &c), &d.error);
  caches held = share_caches(&d, &c), out;
  weft_session_cancel(d.session);
  CHECK_INT(run_step(&d, d.session, &whole, NULL, 7, 1, &held, &out), WEFT_CANCELLED);
  for (int64_t i = 0; i < cache_count(&d); i++) CHECK(cache_is(&whole, i, held.at[i], 7));
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 7, 1, &held, &out), &d.error);
  for (int64_t i = 0; i < cache_count(&d); i++) CHECK(cache_is(&whole, i, out.at[i], 8));
  close_caches(&held);
  close_caches(&empty);
  decoder_close(&d);
}

static void test_prepare(void) {
  encoder e;
  encoder_open(&e, 7);
  e.device->ready_pending = 2;
  uint64_t prepared = e.device->prepared;
  CHECK_INT(weft_session_prepare(e.session, &e.error), WEFT_PENDING);
  CHECK(e.device->prepared > prepared); /* its steps, for a likely shape */
  prepared = e.device->prepared;
  CHECK_INT(weft_session_prepare(e.session, &e.error), WEFT_PENDING);
  CHECK_OK(weft_session_prepare(e.session, &e.error), &e.error);
  CHECK_INT(e.device->prepared, prepared);
  encoder_close(&e);

  decoder d;
  fake_seed = 7;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
  CHECK_OK(weft_session_prepare(d.session, &d.error), &d.error);
  CHECK(d.device->prepared > 0);
  decoder_close(&d);

  encoder_open(&e, 0);
  CHECK_OK(weft_session_prepare(e.session, &e.error), &e.error);
  CHECK_OK(weft_session_poll(e.session, true, &e.error), &e.error);
  encoder_close(&e);
}

/* ---- faults of the device -------------------------------------------------------------------- */

static void test_a_lost_device(void) {
  encoder e;
  weft_binding out[2];
  encoder_open(&e, 7);
  CHECK_OK(encode(&e, NULL, &e.x, out), &e.error);
  e.device->fail_call = e.device->calls + 2;
  e.device->fail_status = WEFT_DEVICE_LOST;
  CHECK_INT(encode(&e, NULL, &e.x, out), WEFT_DEVICE_LOST);
  CHECK_TEXT(e.error.message, "a call of the device failed, as the test wants it");
  CHECK_INT(encode(&e, NULL, &e.x, out), WEFT_DEVICE_LOST);
  CHECK_TEXT(e.error.message,
             "the GPU was lost, and with it the session's weights: open both anew");
  encoder_close(&e);
}

/* Opens, runs twice, feeds and fetches; the first failure. A run that failed is repeated. */
static weft_status try_all(encoder *e, uint64_t fail_call) {
  weft_binding out[2];
  fake_fail_call = fail_call;
  weft_session_options options = {.kernels = "reference"};
  WEFT_TRY(open_session(e, &options));
  weft_status failure = WEFT_OK;
  for (int run = 0; run < 2; run++) {
    weft_status status = encode(e, (bool[]){true, false}, &e->x, out);
    if (status != WEFT_OK) {
      failure = status;
      CHECK_OK(encode(e, (bool[]){true, false}, &e->x, out), &e->error);
    }
    while ((status = weft_tensor_fetch(out[0].tensor, &e->error)) == WEFT_PENDING) continue;
    if (status != WEFT_OK) failure = status;
    is_expected(out[0].tensor, expected_y[0]);
    is_expected(out[1].tensor, expected_hidden[0]);
  }
  return failure;
}

static void test_every_call_fails_once(void) {
  for (uint64_t seed = 7; seed <= 9; seed += 2) {
    uint64_t n = 0;
    for (bool more = true; more;) {
      encoder e;
      encoder_load(&e);
      fake_seed = seed;
      weft_status status = try_all(&e, ++n);
      more = status != WEFT_OK;
      if (more) CHECK_INT(status, WEFT_OUT_OF_MEMORY);
      encoder_close(&e);
    }
    fake_fail_call = 0;
    CHECK(n > 20);
    check_print("%d calls of the device failed in turn\n", (int)n - 1);
  }
}

int main(void) {
  expect(expected_y, expected_hidden);
  CHECK_RUN(test_results_are_the_cpus);
  CHECK_RUN(test_decoders_are_the_cpus);
  CHECK_RUN(test_outputs_stay_there);
  CHECK_RUN(test_a_fetch_can_be_left);
  CHECK_RUN(test_the_callers_memory);
  CHECK_RUN(test_tensors_of_other_sessions);
  CHECK_RUN(test_weights_are_where_they_are_read);
  CHECK_RUN(test_pending);
  CHECK_RUN(test_tensors_closed_meanwhile);
  CHECK_RUN(test_a_cancelled_step);
  CHECK_RUN(test_prepare);
  CHECK_RUN(test_a_lost_device);
  CHECK_RUN(test_every_call_fails_once);
  return check_result();
}
