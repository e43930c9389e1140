/* Tests of KV caches between runs: what lies in place, what is copied, what a handle sees, and what
 * a step costs; on the CPU, and on devices with memory of their own. */
#include "tests/unit/cache_build.h"

#include <pthread.h>

static const decoder_options small = {.layers = 2, .heads = 2, .size = 4};
static history whole; /* large */

static void start_history(const decoder *d) {
  memset(&whole, 0, sizeof whole);
  whole.d = d;
}

/* The prompt's positions, from empty caches. */
static caches prefill(decoder *d, int64_t rows) {
  caches empty = empty_caches(d), out = {0};
  while (whole.rows < rows) history_add(&whole, 1);
  CHECK_OK(run_step(d, d->session, &whole, NULL, 0, rows, &empty, &out), &d->error);
  close_caches(&empty);
  return out;
}

static void check_caches(const decoder *d, const caches *c, int64_t rows) {
  for (int64_t i = 0; i < cache_count(d); i++) CHECK(cache_is(&whole, i, c->at[i], rows));
}

/* ---- in place -------------------------------------------------------------------------------- */

static void decode_far(decoder_options options) {
  decoder d;
  decoder_open(&d, options, 0);
  start_history(&d);
  caches c = prefill(&d, 5);
  int64_t growths = 0;
  for (int64_t past = 5; past < 600; past++) {
    history_add(&whole, 1);
    int64_t calls = d.memory.calls;
    if (!CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, &c, &c), &d.error)) break;
    bool full = past == weft_cache_capacity(0, past); /* of the buffer before the step */
    bool first = past < 5 + 4;                        /* plans: for one row, then for many */
    if (!full && !first && !CHECK_INT(d.memory.calls, calls))
      check_print("  at %d rows\n", (int)past);
    growths += d.memory.calls > calls;
  }
  CHECK(growths <= 4 + 7);
  check_caches(&d, &c, 600);
  decoder_close(&d);
}

static void test_steps_allocate_nothing_until_a_buffer_is_full(void) {
  if (fake_splits(fake_seed)) return; /* whole caches would cross, whose strides change */
  decode_far(small);
}
static void test_the_total_by_shape_arithmetic(void) {
  if (fake_splits(fake_seed)) return;
  decode_far((decoder_options){.layers = 1, .heads = 3, .size = 2, .total = true});
}

static void test_rows_stay_where_they_are(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 70);
  const uint8_t *data = c.at[0]->storage->data;
  weft_memory memory = c.at[0]->storage->memory;
  for (int64_t past = 70; past < 96; past++) {
    history_add(&whole, 1);
    CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, &c, &c), &d.error);
    CHECK(c.at[0]->storage->data == data && c.at[0]->storage->memory == memory);
  }
  CHECK_INT(c.at[0]->storage->capacity, 96);
  history_add(&whole, 1);
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 96, 1, &c, &c), &d.error);
  CHECK_INT(c.at[0]->storage->capacity, 128);
  check_caches(&d, &c, 97);
  decoder_close(&d);
}

static void test_several_rows_at_a_time(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 3);
  for (int64_t past = 3, step = 1; past < 300; past += step, step = 1 + past % 7) {
    for (int64_t s = 0; s < step; s++) history_add(&whole, 1);
    CHECK_OK(run_step(&d, d.session, &whole, NULL, past, step, &c, &c), &d.error);
    check_caches(&d, &c, past + step);
  }
  decoder_close(&d);
}

/* ---- handles --------------------------------------------------------------------------------- */

static void test_old_handles_see_their_rows(void) {
  static caches kept[150];
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 2);
  kept[2] = share_caches(&d, &c);
  for (int64_t past = 2; past < 149; past++) {
    history_add(&whole, 1);
    CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, &kept[past], &c), &d.error);
    kept[past + 1] = share_caches(&d, &c);
    CHECK(c.at[0]->storage == kept[2].at[0]->storage); /* however much it grew */
  }
  weft_session_close(&d.session); /* they outlive it */
  for (int64_t rows = 2; rows < 150; rows++) {
    check_caches(&d, &kept[rows], rows);
    close_caches(&kept[rows]);
  }
  decoder_close(&d);
}

/* Two continuations of the same rows. */
static void test_a_branch_is_copied(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 10), stem = share_caches(&d, &c), left, right;
  history_add(&whole, 1);
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 10, 1, &stem, &c), &d.error);
  left = share_caches(&d, &c);
  CHECK(left.at[0]->storage == stem.at[0]->storage);
  history other = whole;
  other.rows = 10;
  history_add(&other, 2);
  CHECK_OK(run_step(&d, d.session, &other, NULL, 10, 1, &stem, &c), &d.error);
  right = share_caches(&d, &c);
  CHECK(right.at[0]->storage != stem.at[0]->storage);
  for (int64_t i = 0; i < cache_count(&d); i++) {
    CHECK(cache_is(&whole, i, left.at[i], 11));
    CHECK(cache_is(&other, i, right.at[i], 11));
    CHECK(cache_is(&whole, i, stem.at[i], 10));
  }
  /* each goes on in its own buffer */
  history_add(&whole, 1);
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 11, 1, &left, &c), &d.error);
  CHECK(c.at[0]->storage == left.at[0]->storage);
  check_caches(&d, &c, 12);
  close_caches(&stem);
  close_caches(&left);
  close_caches(&right);
  decoder_close(&d);
}

static void test_cut_back_in_place(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 10), stem = share_caches(&d, &c);
  const weft_storage *storage = stem.at[1]->storage;
  for (int64_t seed = 2; seed < 6; seed++) { /* the longer one is dropped each time */
    whole.rows = 10;
    for (int64_t past = 10; past < 14; past++) {
      history_add(&whole, seed);
      CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, past == 10 ? &stem : &c, &c),
               &d.error);
      CHECK(c.at[1]->storage == storage);
    }
    check_caches(&d, &c, 14);
    caches again = share_caches(&d, &stem);
    check_caches(&d, &again, 10);
    close_caches(&again);
  }
  close_caches(&stem);
  decoder_close(&d);
}

static void test_a_view_fed_twice(void) {
  decoder d;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
  start_history(&d);
  caches c = prefill(&d, 6), out;
  caches twice = {{c.at[1], c.at[1]}};
  history_add(&whole, 1);
  int64_t x_dims[] = {1, 1, 8}, mask_dims[] = {1, 7}, ones[] = {1, 1, 1, 1, 1, 1, 1};
  weft_tensor x, mask;
  weft_tensor_point(&x, WEFT_F32, x_dims, 3, whole.x[0][6], 32, NULL);
  weft_tensor_point(&mask, WEFT_I64, mask_dims, 2, ones, sizeof ones, NULL);
  weft_binding inputs[] = {
      {"x", &x}, {"mask", &mask}, {"past0", twice.at[0]}, {"past1", twice.at[1]}};
  weft_binding outputs[] = {{"present0", NULL}, {"present1", NULL}};
  CHECK_OK(run_session(d.session, NULL, inputs, 4, outputs, 2, &d.error), &d.error);
  out = (caches){{outputs[0].tensor, outputs[1].tensor}};
  CHECK(out.at[0]->storage != out.at[1]->storage);
  const float *keys = data_of(out.at[0]), *values = data_of(out.at[1]);
  for (int row = 0; row < 7; row++)
    for (int i = 0; i < 4; i++) {
      float value = value_of(&whole, 0, row, i);
      CHECK(is_near(values[row * 4 + i], value));
      CHECK(is_near(keys[row * 4 + i], row < 6 ? value : key_of(&whole, 0, row, i)));
    }
  decoder_close(&d);
}

/* Handles on the first rows, which another thread reads and closes while the buffers grow. */
typedef struct reader {
  caches shares[100];
  bool good;
} reader;

static void *read_shares(void *user) {
  reader *r = user;
  r->good = true;
  for (int i = 0; i < 100; i++) {
    for (int c = 0; c < 4; c++)
      r->good = r->good && memcmp(data_of(r->shares[i].at[c]), data_of(r->shares[0].at[c]),
                                  weft_tensor_bytes(r->shares[0].at[c])) == 0;
    if (i > 0) close_caches(&r->shares[i]);
  }
  return NULL;
}

static void test_handles_on_another_thread(void) {
  static reader r;
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 60);
  while (whole.rows < 160) history_add(&whole, 1);
  for (int i = 0; i < 100; i++) r.shares[i] = share_caches(&d, &c);
  pthread_t thread;
  if (!CHECK(pthread_create(&thread, NULL, read_shares, &r) == 0)) return;
  for (int64_t past = 60; past < 160; past++)
    CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, &c, &c), &d.error);
  pthread_join(thread, NULL);
  CHECK(r.good);
  check_caches(&d, &c, 160);
  check_caches(&d, &r.shares[0], 60);
  close_caches(&r.shares[0]);
  decoder_close(&d);
}

/* ---- tensors that are no caches of this session ---------------------------------------------- */

static void test_plain_tensors_are_copied_in(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 9);
  for (int64_t past = 9; past < 13; past++) {
    caches plain = {0};
    for (int64_t i = 0; i < cache_count(&d); i++) {
      plain.at[i] = new_tensor(&d, WEFT_F32, 4, weft_tensor_dims(c.at[i]));
      memcpy(data_of(plain.at[i]), data_of(c.at[i]), weft_tensor_bytes(c.at[i]));
    }
    history_add(&whole, 1);
    CHECK_OK(run_step(&d, d.session, &whole, NULL, past, 1, &plain, &c), &d.error);
    check_caches(&d, &c, past + 1);
    check_caches(&d, &plain, past);
    close_caches(&plain);
  }
  decoder_close(&d);
}

static void test_caches_of_another_session(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  weft_session *other = NULL;
  CHECK_OK(weft_session_open(d.model, NULL, &other, &d.error), &d.error);
  caches c = prefill(&d, 9), shared = share_caches(&d, &c), out;
  check_caches(&d, &shared, 9); /* fetched, for the other one is on the CPU */
  history_add(&whole, 1);
  CHECK_OK(run_step(&d, other, &whole, NULL, 9, 1, &shared, &out), &d.error);
  CHECK(out.at[0]->storage != shared.at[0]->storage);
  check_caches(&d, &out, 10);
  check_caches(&d, &shared, 9);
  CHECK_OK(run_step(&d, d.session, &whole, NULL, 9, 1, &shared, &c), &d.error);
  check_caches(&d, &c, 10);
  close_caches(&shared);
  weft_session_close(&other);
  decoder_close(&d);
}

static void test_outputs_in_the_callers_tensors(void) {
  decoder d;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
  start_history(&d);
  caches c = prefill(&d, 4);
  history_add(&whole, 1);
  int64_t x_dims[] = {1, 1, 8}, mask_dims[] = {1, 5}, ones[] = {1, 1, 1, 1, 1};
  int64_t dims[] = {1, 2, 5, 4};
  weft_tensor x, mask;
  weft_tensor_point(&x, WEFT_F32, x_dims, 3, whole.x[0][4], 32, NULL);
  weft_tensor_point(&mask, WEFT_I64, mask_dims, 2, ones, sizeof ones, NULL);
  weft_binding inputs[] = {{"x", &x}, {"mask", &mask}, {"past0", c.at[0]}, {"past1", c.at[1]}};
  weft_tensor *given = new_tensor(&d, WEFT_F32, 4, dims);
  weft_binding outputs[] = {{"present1", NULL}, {"present0", given}, {"y", NULL}};
  CHECK_OK(run_session(d.session, NULL, inputs, 4, outputs, 3, &d.error), &d.error);
  CHECK(cache_is(&whole, 0, given, 5));
  CHECK(cache_is(&whole, 1, outputs[0].tensor, 5));
  weft_tensor *view = NULL;
  CHECK_OK(weft_tensor_share(outputs[0].tensor, &view, &d.error), &d.error);
  weft_binding wrong = {"present0", view};
  inputs[3].tensor = inputs[2].tensor = new_tensor(&d, WEFT_F32, 4, (int64_t[]){1, 2, 4, 4});
  CHECK_INT(run_session(d.session, NULL, inputs, 4, &wrong, 1, &d.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(d.error.message, "output 'present0': the tensor given is a cache of a session");
  weft_tensor_close(&inputs[2].tensor);
  weft_tensor_close(&view);
  weft_tensor_close(&given);
  decoder_close(&d);
}

static void test_other_outputs_are_shared_too(void) {
  decoder d;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
  start_history(&d);
  prefill(&d, 4);
  weft_tensor *y = d.session->current->outputs[0], *kept = NULL;
  float before[32];
  memcpy(before, data_of(y), sizeof before);
  CHECK_OK(weft_tensor_share(y, &kept, &d.error), &d.error);
  whole.rows = 0;
  for (int64_t row = 0; row < 4; row++) history_add(&whole, 5);
  prefill(&d, 4); /* the same plan, another y */
  CHECK(data_of(d.session->current->outputs[0]) != data_of(kept));
  weft_session_close(&d.session);
  CHECK_INT(memcmp(data_of(kept), before, sizeof before), 0);
  weft_tensor_close(&kept);
  decoder_close(&d);
}

/* ---- runs that fail -------------------------------------------------------------------------- */

static uint64_t tick(void *user) {
  return ++*(uint64_t *)user;
}

/* Times out after each of its steps in turn: the run can be repeated each time. */
static void test_a_run_that_ends_between_appends(void) {
  decoder d;
  decoder_open(&d, small, 0);
  uint64_t now = 0;
  d.runtime->clock = (weft_clock){tick, &now};
  start_history(&d);
  caches c = prefill(&d, 60), held = share_caches(&d, &c), out;
  int64_t failures = 0;
  for (int64_t past = 60; past < 68; past++) { /* a buffer grows at 64 */
    history_add(&whole, 1);
    for (uint64_t limit = 1;; limit++) {
      weft_run_options options = {.time_limit_ns = limit};
      weft_status status = run_step(&d, d.session, &whole, &options, past, 1, &held, &out);
      if (status == WEFT_OK) break;
      CHECK_INT(status, WEFT_TIMED_OUT);
      CHECK(held.at[0]->storage->rows == past && !held.at[0]->storage->claimed);
      failures++;
    }
    caches next = share_caches(&d, &out);
    close_caches(&held);
    held = next;
    caches check = share_caches(&d, &held);
    check_caches(&d, &check, past + 1);
    close_caches(&check);
  }
  CHECK(failures > 8 * 6);
  close_caches(&held);
  decoder_close(&d);
}

static void test_memory_limit(void) {
  decoder d;
  decoder_open(&d, small, 250000);
  start_history(&d);
  caches c = prefill(&d, 5), held = share_caches(&d, &c), out;
  int64_t past = 5;
  weft_status status = WEFT_OK;
  for (; past < ROWS_MAX - 1 && status == WEFT_OK; past++) {
    history_add(&whole, 1);
    status = run_step(&d, d.session, &whole, NULL, past, 1, &held, &out);
    if (status != WEFT_OK) break;
    caches next = share_caches(&d, &out);
    close_caches(&held);
    held = next;
  }
  CHECK_INT(status, WEFT_LIMIT_EXCEEDED);
  CHECK(weft_session_memory(d.session).bytes_peak <= 250000);
  weft_session_close(&d.session);
  for (int64_t i = 0; i < cache_count(&d); i++) /* rows may have moved, but are all there */
    CHECK(cache_is(&whole, i, held.at[i], past));
  close_caches(&held);
  decoder_close(&d);
}

static void test_shapes_that_do_not_fit(void) {
  decoder d;
  decoder_open(&d, small, 0);
  start_history(&d);
  caches c = prefill(&d, 5), odd = share_caches(&d, &c), out;
  weft_tensor_close(&odd.at[2]);
  odd.at[2] = new_tensor(&d, WEFT_F32, 4, (int64_t[]){1, 2, 3, 4}); /* shorter than the others */
  history_add(&whole, 1);
  CHECK_INT(run_step(&d, d.session, &whole, NULL, 5, 1, &odd, &out), WEFT_INVALID_ARGUMENT);
  caches good = share_caches(&d, &odd);
  weft_tensor_close(&odd.at[2]);
  weft_tensor_close(&good.at[2]);
  close_caches(&good);
  close_caches(&odd);
  whole.rows = 0;
  c = prefill(&d, 5); /* goes on */
  check_caches(&d, &c, 5);
  decoder_close(&d);
}

/* ---- lengths --------------------------------------------------------------------------------- */

/* Two sequences, the second one shorter: its new row goes where its own end, in front of padding.
 * Whoever holds the old rows still sees them. */
static void test_ragged_lengths(void) {
  decoder d;
  decoder_open(&d, (decoder_options){.layers = 1, .heads = 1, .size = 2, .lengths = true}, 0);
  float past_data[2][6], x_data[] = {10, 20, 30, 40};
  for (int i = 0; i < 12; i++) past_data[i / 6][i % 6] = (float)i;
  int64_t x_dims[] = {2, 1, 2}, mask_dims[] = {2, 4}, ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  int64_t past_dims[] = {2, 1, 3, 2}, length_dims[] = {2}, lengths[] = {4, 2};
  weft_tensor x, mask, past, length;
  weft_tensor_point(&x, WEFT_F32, x_dims, 3, x_data, sizeof x_data, NULL);
  weft_tensor_point(&mask, WEFT_I64, mask_dims, 2, ones, sizeof ones, NULL);
  weft_tensor_point(&past, WEFT_F32, past_dims, 4, past_data, sizeof past_data, NULL);
  weft_tensor_point(&length, WEFT_I64, length_dims, 1, lengths, sizeof lengths, NULL);
  weft_binding inputs[] = {
      {"x", &x}, {"mask", &mask}, {"lengths", &length}, {"past0", &past}, {"past1", &past}};
  weft_binding outputs[] = {{"present0", NULL}, {"present1", NULL}};
  CHECK_OK(run_session(d.session, NULL, inputs, 5, outputs, 2, &d.error), &d.error);
  /* batch 0: row 3 is new; batch 1: row 1 is new, row 3 was nobody's */
  static const float first[] = {0, 1, 2, 3, 4, 5, 5, 10, 6, 7, 15, 20, 10, 11, 0, 0};
  CHECK_INT(memcmp(data_of(outputs[0].tensor), first, sizeof first), 0);

  weft_tensor *held = NULL;
  CHECK_OK(weft_tensor_share(outputs[0].tensor, &held, &d.error), &d.error);
  int64_t lengths_2[] = {5, 3};
  int64_t mask_dims_2[] = {2, 5}, ones_2[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  weft_tensor_point(&length, WEFT_I64, length_dims, 1, lengths_2, sizeof lengths_2, NULL);
  weft_tensor_point(&mask, WEFT_I64, mask_dims_2, 2, ones_2, sizeof ones_2, NULL);
  inputs[3].tensor = held;
  inputs[4].tensor = outputs[1].tensor; /* the session's own: may be written over */
  const weft_storage *own = outputs[1].tensor->storage;
  outputs[0].tensor = outputs[1].tensor = NULL;
  CHECK_OK(run_session(d.session, NULL, inputs, 5, outputs, 2, &d.error), &d.error);
  static const float second[] = {0, 1, 2, 3, 4, 5, 5, 10, 5, 10, 6, 7, 15, 20, 15, 20, 0, 0, 0, 0};
  CHECK_INT(memcmp(data_of(outputs[0].tensor), second, sizeof second), 0);
  CHECK(outputs[0].tensor->storage != held->storage);
  CHECK(outputs[1].tensor->storage == own);
  CHECK_INT(memcmp(data_of(held), first, sizeof first), 0);

  int64_t bad[] = {5, 6}; /* beyond the cache */
  weft_tensor_point(&length, WEFT_I64, length_dims, 1, bad, sizeof bad, NULL);
  inputs[4].tensor = held;
  outputs[0].tensor = outputs[1].tensor = NULL;
  CHECK_INT(run_session(d.session, NULL, inputs, 5, outputs, 2, &d.error), WEFT_INVALID_DATA);
  CHECK(contains(d.error.message, "1 rows that end at length 6 of batch entry 1 do not lie in a "
                                  "cache of 5"));
  weft_tensor_close(&held);
  decoder_close(&d);
}

/* What holds wherever the caches lie. */
static void run_all(void) {
  CHECK_RUN(test_steps_allocate_nothing_until_a_buffer_is_full);
  CHECK_RUN(test_the_total_by_shape_arithmetic);
  CHECK_RUN(test_rows_stay_where_they_are);
  CHECK_RUN(test_several_rows_at_a_time);
  CHECK_RUN(test_old_handles_see_their_rows);
  CHECK_RUN(test_a_branch_is_copied);
  CHECK_RUN(test_cut_back_in_place);
  CHECK_RUN(test_a_view_fed_twice);
  CHECK_RUN(test_plain_tensors_are_copied_in);
  CHECK_RUN(test_caches_of_another_session);
  CHECK_RUN(test_outputs_in_the_callers_tensors);
  CHECK_RUN(test_other_outputs_are_shared_too);
  CHECK_RUN(test_a_run_that_ends_between_appends);
  CHECK_RUN(test_shapes_that_do_not_fit);
  CHECK_RUN(test_ragged_lengths);
}

int main(void) {
  run_all();
  CHECK_RUN(test_handles_on_another_thread);
  CHECK_RUN(test_memory_limit);
  for (fake_seed = 1; fake_seed <= 12; fake_seed++) {
    check_print("on fake device %d\n", (int)fake_seed);
    run_all();
  }
  return check_result();
}
