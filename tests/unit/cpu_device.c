/* Tests of the CPU device as a whole: opening, order of steps, cancelling, deadlines, profiles,
 * refusals, packing. */
#include "base/buffer.h"
#include "tests/unit/cpu_step.h"

static void test_open(void) {
  bench b;
  bench_open(&b, "reference", 1);
  CHECK_TEXT(b.device->name, "cpu");
  weft_device *none;
  weft_session_options options = {.kernels = "abacus"};
  CHECK_INT(weft_cpu_open(b.runtime, &options, &b.heap, &none, &b.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(b.error.message,
             "there are no kernels 'abacus' in this build, or the processor lacks what they need");
  CHECK(none == NULL);
  bench_close(&b);
}

/* Two maps: y = -x, z = |y|. */
typedef struct chain {
  bench b;
  weft_instruction code[2];
  weft_node nodes[2];
  const weft_array *arrays[3];
  weft_step steps[2];
  weft_plan plan;
  weft_execution execution;
} chain;

static void chain_open(chain *c, int64_t elements, uint32_t threads) {
  memset(c, 0, sizeof *c);
  bench_open(&c->b, NULL, threads);
  c->arrays[0] = bench_random(&c->b, WEFT_F32, 1, &elements, BENCH_DENSE);
  for (int i = 0; i < 2; i++) {
    c->arrays[1 + i] = bench_array(&c->b, WEFT_F32, 1, &elements, BENCH_DENSE);
    c->code[i] = (weft_instruction){.op = i ? WEFT_EXPR_ABS : WEFT_EXPR_NEG, .dtype = WEFT_F32};
    c->nodes[i] =
        (weft_node){.op = WEFT_OP_MAP, .name = i ? WEFT_STR("second") : WEFT_STR("first")};
    c->nodes[i].attributes.map.expr = (weft_expr){
        .input_count = 1, .code_count = 1, .input_dtypes = {WEFT_F32}, .code = &c->code[i]};
    c->steps[i] = (weft_step){.node = &c->nodes[i],
                              .input_count = 1,
                              .output_count = 1,
                              .inputs = &c->arrays[i],
                              .outputs = &c->arrays[1 + i]};
    CHECK_OK(c->b.device->prepare(c->b.device, &c->steps[i], &c->b.arena, &c->b.error),
             &c->b.error);
    c->steps[i].scratch_offset = 0;
  }
  uint64_t scratch = c->steps[0].scratch_bytes + c->steps[1].scratch_bytes + 64;
  c->b.bases[0] = aligned_alloc(64, (size_t)scratch / 64 * 64 + 64);
  c->plan = (weft_plan){.steps = c->steps, .step_count = 2};
  c->execution = (weft_execution){.runtime = c->b.runtime, .plan = &c->plan, .bases = c->b.bases};
}

static weft_status chain_run(chain *c) {
  return c->b.device->execute(c->b.device, &c->execution, &c->b.error);
}

static void chain_close(chain *c) {
  free(c->b.bases[0]);
  bench_close(&c->b);
}

static void test_steps_in_order(void) {
  chain c;
  weft_step_profile profile[2] = {0};
  chain_open(&c, 100, 1);
  c.execution.profile = profile;
  CHECK_OK(chain_run(&c), &c.b.error);
  float x = bench_f32(&c.b, c.arrays[0], 42);
  CHECK(bench_f32(&c.b, c.arrays[2], 42) == (x < 0 ? -x : x));
  CHECK_INT(c.execution.next_step, 2);
  CHECK_INT(profile[0].calls, 1);
  CHECK_INT(profile[1].calls, 1);
  chain_close(&c);
}

static void test_cancel(void) {
  chain c;
  chain_open(&c, 100, 1);
  const _Atomic bool cancel = true;
  c.execution.cancel = &cancel;
  CHECK_INT(chain_run(&c), WEFT_CANCELLED);
  CHECK_TEXT(c.b.error.message, "node 'first' (map): the run was cancelled");
  CHECK_INT(c.execution.next_step, 0);
  chain_close(&c);
}

static void test_deadline(void) {
  chain c;
  chain_open(&c, 100, 1);
  c.execution.deadline_ns = 1; /* long ago */
  CHECK_INT(chain_run(&c), WEFT_TIMED_OUT);
  CHECK_TEXT(c.b.error.message, "node 'first' (map): the run's time limit has passed");
  chain_close(&c);
}

/* A clock that jumps when the first step is under way: the deadline is noticed inside of it. */
static uint64_t jumping_clock(void *user) {
  uint64_t *calls = user;
  return ++*calls > 1 ? 1000 : 0;
}

static void test_deadline_inside_a_step(void) {
  chain c;
  uint64_t calls = 0;
  chain_open(&c, 1 << 20, 1);
  c.b.runtime->clock = (weft_clock){.now_ns = jumping_clock, .user = &calls};
  c.execution.deadline_ns = 10;
  CHECK_INT(chain_run(&c), WEFT_TIMED_OUT);
  CHECK_INT(c.execution.next_step, 0);
  CHECK_INT(calls, 2);
  chain_close(&c);
}

static void test_no_heap_call_in_a_run(void) {
  chain c;
  chain_open(&c, 1 << 16, 2);
  uint64_t before = weft_runtime_memory(c.b.runtime).calls;
  CHECK_OK(chain_run(&c), &c.b.error);
  CHECK_INT(weft_runtime_memory(c.b.runtime).calls, before);
  chain_close(&c);
}

static void test_if_is_refused(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_BOOL, 0, NULL, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
  const weft_array *inputs[] = {x};
  const weft_attributes none = {0};
  CHECK_INT(bench_run(&b, WEFT_OP_IF, &none, inputs, 1, out), WEFT_UNSUPPORTED);
  CHECK_TEXT(b.error.message, "node 'tested' (if): the condition is known only at run time; only "
                              "conditions that follow from shapes and constants are supported");
  bench_close(&b);
}

/* ---- packing
 * ------------------------------------------------------------------------------------- */

static weft_status pack(bench *b, weft_op op, weft_value *value, weft_buffer **out) {
  weft_graph graph = {.values = value, .value_count = 1};
  weft_value_id ids[2] = {0, 0};
  weft_node node = {.op = op, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  weft_layout layout;
  return b->device->pack(b->device, &graph, &node, 1, &b->heap, out, &layout, &b->error);
}

static weft_status broken_source(void *user, uint64_t offset, size_t length, void *destination) {
  (void)user, (void)offset, (void)length, (void)destination;
  return WEFT_IO_ERROR;
}

static void test_pack_fails_cleanly(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_source source = {.size = 64 * 64 * 4, .read = broken_source};
  weft_value value = {.kind = WEFT_VALUE_CONSTANT, .dtype = WEFT_F32, .shape = {2, {64, 64}}};
  value.data = weft_buffer_defer(&b.heap, &source, 0, source.size);
  uint64_t before = weft_heap_use(&b.heap).bytes;
  weft_buffer *packed;
  CHECK_INT(pack(&b, WEFT_OP_MATMUL, &value, &packed), WEFT_IO_ERROR);
  CHECK(packed == NULL);
  CHECK_INT(weft_heap_use(&b.heap).bytes, before);
  b.heap.limit = before + 100;
  CHECK_INT(pack(&b, WEFT_OP_MATMUL, &value, &packed), WEFT_LIMIT_EXCEEDED);
  weft_buffer_release(&value.data);
  bench_close(&b);
}

/* What stays dense: other ops, other types, vectors, and narrow matrices. */
static void test_pack_only_where_it_pays(void) {
  static const uint8_t bytes[4096];
  bench b;
  bench_open(&b, NULL, 1);
  weft_value value = {.kind = WEFT_VALUE_CONSTANT, .dtype = WEFT_F32, .shape = {2, {32, 32}}};
  value.data = weft_buffer_borrow(&b.heap, bytes, sizeof bytes);
  weft_buffer *packed;
  CHECK_OK(pack(&b, WEFT_OP_GATHER, &value, &packed), &b.error);
  CHECK(packed == NULL);
  value.dtype = WEFT_I32;
  CHECK_OK(pack(&b, WEFT_OP_MATMUL, &value, &packed), &b.error);
  CHECK(packed == NULL);
  value.dtype = WEFT_F32;
  value.shape = (weft_shape){1, {1024}};
  CHECK_OK(pack(&b, WEFT_OP_MATMUL, &value, &packed), &b.error);
  CHECK(packed == NULL);
  value.shape = (weft_shape){2, {1024, 1}};
  CHECK_OK(pack(&b, WEFT_OP_MATMUL, &value, &packed), &b.error);
  CHECK(packed == NULL);
  weft_buffer_release(&value.data);
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_open);
  CHECK_RUN(test_steps_in_order);
  CHECK_RUN(test_cancel);
  CHECK_RUN(test_deadline);
  CHECK_RUN(test_deadline_inside_a_step);
  CHECK_RUN(test_no_heap_call_in_a_run);
  CHECK_RUN(test_if_is_refused);
  CHECK_RUN(test_pack_fails_cleanly);
  CHECK_RUN(test_pack_only_where_it_pays);
  return check_result();
}
