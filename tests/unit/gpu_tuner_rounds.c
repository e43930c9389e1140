/* Tests of how src/gpu/tuner.c measures: on the null driver, which here pretends that each kernel
 * takes a time of its own, that the clock has steps and that something else is in the way now and
 * then. */
#include "gpu/tuner_table.h"
#include "tests/gpu/gpu_step.h"

enum { STEP_NS = 65536, KERNELS_MAX = 256, SUBMIT_NS = 20000 };

/* What the driver pretends. There is one at a time. */
static struct {
  weft_gpu_driver before; /* its own functions */
  double base_ns;         /* of the fastest kernel, roughly */
  bool noisy, compiling;  /* compiling: nothing comes to an end */
  uint64_t random, ns, now;
  uint64_t *to;
  weft_gpu_id read, broken; /* broken: this kernel and all before it do not compile */
} pretended;

static uint64_t some_number(uint64_t below) {
  return (check_random(&pretended.random) >> 20) % below;
}

/* In an order that has nothing to do with the numbers. */
static double cost_of(weft_gpu_id pipeline) {
  return pretended.base_ns * (1 + (double)(pipeline * 37 % 101) / 40);
}

static weft_status pretend_submit(weft_gpu_driver *driver, const uint32_t *table, uint64_t words,
                                  weft_error *error) {
  double ns = SUBMIT_NS;
  for (uint64_t i = 0; i < words; i += table[i] >> 8)
    if ((table[i] & 255) == WEFT_GPU_DISPATCH) ns += cost_of(table[i + 1]);
  if (pretended.noisy && some_number(10) < 3) ns *= 1 + (double)some_number(30) / 10;
  pretended.ns = (uint64_t)ns;
  return pretended.before.submit(driver, table, words, error);
}

static weft_status pretend_read_times(weft_gpu_driver *driver, uint32_t count, uint64_t *to,
                                      weft_gpu_id *out, weft_error *error) {
  pretended.to = to;
  weft_status status = pretended.before.read_times(driver, count, to, out, error);
  pretended.read = *out;
  return status;
}

static weft_status pretend_read_state(weft_gpu_driver *driver, weft_gpu_id read,
                                      weft_error *error) {
  weft_status status = pretended.before.read_state(driver, read, error);
  if (status != WEFT_OK || read != pretended.read) return status;
  uint64_t start = pretended.now + some_number(STEP_NS), end = start + pretended.ns;
  pretended.to[0] = start / STEP_NS * STEP_NS;
  pretended.to[1] = end / STEP_NS * STEP_NS;
  pretended.now = end;
  return WEFT_OK;
}

static weft_status pretend_pipeline_state(weft_gpu_driver *driver, weft_gpu_id pipeline,
                                          weft_error *error) {
  if (pretended.compiling) return WEFT_PENDING;
  if (pipeline <= pretended.broken)
    return weft_fail(error, WEFT_INTERNAL, "kernel %u does not compile", pipeline);
  return pretended.before.pipeline_state(driver, pipeline, error);
}

static void give_timestamps(weft_gpu_facts *facts) {
  facts->timestamps = true;
  facts->is_software = false;
}
static void give_timestamps_to_a_cpu(weft_gpu_facts *facts) {
  facts->timestamps = facts->is_software = true;
}

static void open_gpu(gpu_bench *g, void (*mask)(weft_gpu_facts *), double base_ns, uint64_t seed) {
  const gpu_variant variant = {"pretended", mask};
  gpu_open(g, "null", &variant);
  weft_gpu_driver *driver = g->gpu->driver;
  memset(&pretended, 0, sizeof pretended);
  pretended.before = *driver;
  pretended.base_ns = base_ns;
  pretended.random = seed;
  driver->submit = pretend_submit;
  driver->read_times = pretend_read_times;
  driver->read_state = pretend_read_state;
  driver->pipeline_state = pretend_pipeline_state;
}

/* ---- a product, whose output has no memory yet ----------------------------------------------- */

typedef struct product {
  gpu_run *run;
  weft_node node;
  weft_plan plan;
  weft_execution execution;
} product;

/* The plan points into it. */
static void open_product(gpu_bench *g, int64_t rows, product *p) {
  *p = (product){.run = calloc(1, sizeof(gpu_run)),
                 .node = {.op = WEFT_OP_MATMUL, .name = WEFT_STR("tuned")}};
  p->run->g = g;
  const weft_array *a = bench_random(&g->cpu, WEFT_F32, 2, (int64_t[]){rows, 256}, BENCH_DENSE);
  const weft_array *b = bench_random(&g->cpu, WEFT_F32, 2, (int64_t[]){256, 512}, BENCH_DENSE);
  const weft_array *y = bench_array(&g->cpu, WEFT_F32, 2, (int64_t[]){rows, 512}, BENCH_DENSE);
  const weft_array *inputs[] = {gpu_upload(p->run, a), gpu_upload(p->run, b)};
  weft_array *output = gpu_new_array(p->run, y);
  const weft_array *outputs[] = {output};
  output->on_device = true;
  gpu_add_step(p->run, &p->node, inputs, 2, outputs, 1);
  p->plan = (weft_plan){.steps = p->run->steps, .step_count = 1, .pool_count = GPU_ARRAYS};
}

static weft_status tune(gpu_bench *g, product *p, weft_tune mode) {
  weft_error *error = &g->cpu.error;
  ((weft_gpu_device *)(void *)g->device)->tune = mode;
  p->execution = (weft_execution){.runtime = g->cpu.runtime,
                                  .plan = &p->plan,
                                  .bases = p->run->bases,
                                  .memories = p->run->memories};
  weft_status status = g->device->tune(g->device, &p->execution, error);
  for (int i = 0; status == WEFT_PENDING && i < 1000; i++)
    status = g->device->tune(g->device, &p->execution, error);
  return status;
}

static weft_tune_entry *entry_of(const gpu_bench *g) {
  CHECK_INT(g->gpu->tuner->count, 1);
  return &g->gpu->tuner->entries[0];
}

/* What the kernels of a candidate are pretended to take. */
static double cost_of_candidate(gpu_bench *g, const product *p, uint32_t number) {
  weft_step step = p->run->steps[0];
  weft_tune_entry *entry = entry_of(g);
  uint32_t choice = entry->choice;
  entry->choice = number;
  CHECK_OK(g->device->prepare(g->device, &step, &g->cpu.arena, &g->cpu.error), &g->cpu.error);
  entry->choice = choice;
  const weft_gpu_work *work = step.state;
  double cost = 0;
  for (uint32_t i = 0; i < work->count; i++) cost += cost_of(work->dispatches[i].kernel->pipeline);
  return cost;
}

/* The choice against the best of the first `count` candidates. */
static void check_choice(gpu_bench *g, const product *p, uint32_t count) {
  const weft_tune_entry *entry = entry_of(g);
  double best = cost_of_candidate(g, p, 0), chosen = cost_of_candidate(g, p, entry->choice);
  CHECK(entry->measured);
  for (uint32_t i = 1; i < count; i++) {
    double cost = cost_of_candidate(g, p, i);
    if (cost < best) best = cost;
  }
  if (!CHECK(chosen <= 1.05 * best))
    check_print("  %g, and the best is %g (%u)\n", chosen, best, entry->choice);
}

static void close_gpu(gpu_bench *g, product *p) {
  gpu_end(p->run);
  gpu_close(g);
}

/* Whatever the times, and whatever comes in between; from 5 us, far below the clock's step. */
static void test_best(void) {
  for (uint64_t seed = 1; seed <= 24; seed++) {
    gpu_bench g;
    open_gpu(&g, give_timestamps, seed % 3 == 0 ? 5e3 : seed % 3 == 1 ? 1e5 : 4e6, seed);
    product p;
    open_product(&g, 64, &p);
    pretended.noisy = seed % 2;
    CHECK_OK(tune(&g, &p, WEFT_TUNE_FULL), &g.cpu.error);
    check_choice(&g, &p, entry_of(&g)->candidates);
    CHECK_INT(p.run->memories[3], 0); /* what was lent is taken back */
    uint32_t choice = entry_of(&g)->choice;
    uint64_t now = pretended.now;
    CHECK_OK(tune(&g, &p, WEFT_TUNE_FULL), &g.cpu.error); /* it is known */
    CHECK_INT(entry_of(&g)->choice, choice);
    CHECK_INT(pretended.now, now);
    close_gpu(&g, &p);
  }
}

static void test_fast(void) {
  gpu_bench g;
  open_gpu(&g, give_timestamps, 1e5, 3);
  product p;
  open_product(&g, 64, &p);
  pretended.noisy = true;
  CHECK_OK(tune(&g, &p, WEFT_TUNE_FAST), &g.cpu.error);
  CHECK(entry_of(&g)->candidates > 8);
  check_choice(&g, &p, 8);
  CHECK(g.gpu->tuner->gpu_ns < 150000000);
  close_gpu(&g, &p);
}

/* Kernels of 0.2 s and more: not even a round is within the budget of a GPU, and the guess stays.
 */
static void test_budget(void) {
  for (uint32_t software = 0; software < 2; software++) {
    gpu_bench g;
    open_gpu(&g, software ? give_timestamps_to_a_cpu : give_timestamps, 2e8, 5);
    product p;
    open_product(&g, 64, &p);
    CHECK_OK(tune(&g, &p, WEFT_TUNE_FAST), &g.cpu.error);
    CHECK_INT(entry_of(&g)->measured, software);
    CHECK(g.gpu->tuner->gpu_ns < (software ? 9000000000u : 1500000000u));
    if (!software) CHECK_INT(entry_of(&g)->choice, entry_of(&g)->prior);
    close_gpu(&g, &p);
  }
}

static void test_off(void) {
  gpu_bench g;
  open_gpu(&g, give_timestamps_to_a_cpu, 1e5, 7);
  product p;
  open_product(&g, 64, &p);
  CHECK_OK(tune(&g, &p, WEFT_TUNE_OFF), &g.cpu.error);
  CHECK_OK(tune(&g, &p, WEFT_TUNE_AUTO), &g.cpu.error); /* on a CPU it is off */
  CHECK_INT(pretended.now, 0);
  close_gpu(&g, &p);
}

/* Kernels that do not compile are no choice, the guess's included; the others are tried. */
static void test_broken(void) {
  gpu_bench g;
  open_gpu(&g, give_timestamps, 1e5, 9);
  product p;
  open_product(&g, 64, &p);
  pretended.broken = 3;
  CHECK_OK(tune(&g, &p, WEFT_TUNE_FULL), &g.cpu.error);
  CHECK(entry_of(&g)->measured);
  CHECK(entry_of(&g)->choice != entry_of(&g)->prior);
  close_gpu(&g, &p);

  open_gpu(&g, give_timestamps, 1e5, 9);
  open_product(&g, 64, &p);
  pretended.broken = UINT32_MAX;
  CHECK_OK(tune(&g, &p, WEFT_TUNE_FULL), &g.cpu.error);
  CHECK_INT(entry_of(&g)->measured, false);
  close_gpu(&g, &p);
}

/* A run that is given up leaves nothing behind (bench_close looks), and another one measures anew.
 */
static void test_stop(void) {
  gpu_bench g;
  open_gpu(&g, give_timestamps, 1e5, 11);
  product p;
  open_product(&g, 64, &p);
  pretended.compiling = true;
  CHECK_INT(tune(&g, &p, WEFT_TUNE_FULL), WEFT_PENDING);
  CHECK_OK(g.device->tune(g.device, NULL, &g.cpu.error), &g.cpu.error);
  pretended.compiling = false;
  CHECK_OK(tune(&g, &p, WEFT_TUNE_FULL), &g.cpu.error);
  check_choice(&g, &p, entry_of(&g)->candidates);
  close_gpu(&g, &p);
}

int main(void) {
  CHECK_RUN(test_best);
  CHECK_RUN(test_fast);
  CHECK_RUN(test_budget);
  CHECK_RUN(test_off);
  CHECK_RUN(test_broken);
  CHECK_RUN(test_stop);
  return check_result();
}
