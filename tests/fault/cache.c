/* Lack of memory at every allocation of a decode loop with KV caches: prompt, plans for one length
 * and for growing ones, shares, a branch, buffers that grow. The n-th one fails, for every n; the
 * step is repeated and must come out right, from caches that are as they were. The same for each
 * call of a device with memory of its own. */
#include "tests/unit/cache_build.h"

enum { PROMPT = 60, END = 68 }; /* buffers and plans grow at 64 */

static history whole, branch;

static bool out_of_memory(const decoder *d, weft_status status) {
  if (status == WEFT_OK) return false;
  if (!CHECK_INT(status, WEFT_OUT_OF_MEMORY)) check_print("  %s\n", d->error.message);
  return true;
}

/* Runs until it comes out: once more, then. The caches come as shares. */
static caches step(decoder *d, const history *h, int64_t past, int64_t rows, const caches *from) {
  caches own = {0}, shares = {0};
  weft_status status = run_step(d, d->session, h, NULL, past, rows, from, &own);
  if (out_of_memory(d, status)) status = run_step(d, d->session, h, NULL, past, rows, from, &own);
  CHECK_OK(status, &d->error);
  for (int64_t c = 0; c < cache_count(d) && status == WEFT_OK; c++) {
    if (out_of_memory(d, weft_tensor_share(own.at[c], &shares.at[c], &d->error)))
      CHECK_OK(weft_tensor_share(own.at[c], &shares.at[c], &d->error), &d->error);
  }
  return shares;
}

static void check_cache(const history *h, caches *c, int64_t rows) {
  if (c->at[0] && !data_of(c->at[0])) CHECK(data_of(c->at[0]) != NULL);
  CHECK(cache_is(h, 0, c->at[0], rows));
}

static void decode(decoder *d, int64_t n, bool of_device) {
  caches empty = empty_caches(d), stem = {0};
  if (of_device)
    d->device->fail_call = d->device->calls + (uint64_t)n;
  else
    d->memory.fails_at = d->memory.calls + n;
  caches c = step(d, &whole, 0, PROMPT, &empty);
  close_caches(&empty);
  for (int64_t past = PROMPT; past < END; past++) {
    caches next = step(d, &whole, past, 1, &c);
    if (past == PROMPT)
      stem = c;
    else
      close_caches(&c);
    c = next;
  }
  check_cache(&whole, &c, END);
  caches other = step(d, &branch, PROMPT, 1, &stem);
  check_cache(&branch, &other, PROMPT + 1);
  check_cache(&whole, &stem, PROMPT);
  close_caches(&other);
  close_caches(&stem);
  close_caches(&c);
}

static void fail_in_turn(uint64_t seed, bool of_device) {
  int64_t n = 1;
  fake_seed = seed;
  for (bool more = true; more; n++) {
    decoder d;
    decoder_open(&d, (decoder_options){.layers = 1, .heads = 2, .size = 4}, 0);
    whole.d = branch.d = &d;
    if (whole.rows == 0) {
      while (whole.rows < PROMPT) history_add(&whole, 1);
      branch = whole;
      history_add(&branch, 2);
      while (whole.rows < END) history_add(&whole, 1);
    }
    decode(&d, n, of_device);
    more = of_device ? d.device->calls >= d.device->fail_call : d.memory.calls >= d.memory.fails_at;
    decoder_close(&d);
  }
  CHECK(n > 50);
  check_print("%lld %s failed in turn\n", (long long)n - 2, of_device ? "calls" : "allocations");
}

static void test_every_allocation_of_a_decode_loop(void) {
  fail_in_turn(0, false);
}
static void test_every_allocation_on_a_device(void) {
  fail_in_turn(7, false);
  fail_in_turn(3, false); /* split */
}
static void test_every_call_of_a_device(void) {
  fail_in_turn(7, true);
  fail_in_turn(3, true);
}

int main(void) {
  CHECK_RUN(test_every_allocation_of_a_decode_loop);
  CHECK_RUN(test_every_allocation_on_a_device);
  CHECK_RUN(test_every_call_of_a_device);
  return check_result();
}
