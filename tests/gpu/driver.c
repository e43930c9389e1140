/* The driver's contract, on the null driver and on the one that the tests' adapter has: memory,
 * order, kernels with parameters of both kinds, reads in flight, and what is refused. Then the null
 * driver alone: every call fails in turn. */
#include <stdlib.h>

#include "base/host.h"
#include "gpu/driver.h"
#include "tests/check.h"

typedef struct rig {
  weft_heap heap;
  weft_gpu_driver *driver;
  weft_gpu_null_counts counts;
  weft_error error;
  bool executes; /* false: the null driver */
} rig;

static rig *r; /* the one that a test works with */

/* ---- helpers --------------------------------------------------------------------------------- */

static weft_status open_driver(const char *adapter) {
  return r->executes ? weft_gpu_native_open(&r->heap, adapter, &r->driver, &r->error)
                     : weft_gpu_null_open(&r->heap, NULL, &r->counts, &r->driver, &r->error);
}

/* Makes `made` the current one. */
static bool open_rig(rig *made, const char *adapter, bool executes) {
  r = made;
  memset(r, 0, sizeof *r);
  weft_allocator allocator = weft_host_allocator();
  weft_heap_init(&r->heap, &allocator, NULL, 0);
  r->executes = executes;
  return CHECK_OK(open_driver(adapter), &r->error);
}

static void close_rig(void) {
  if (r->driver) r->driver->close(r->driver);
  CHECK_INT(weft_heap_use(&r->heap).bytes, 0);
}

static weft_status await_read(weft_gpu_id read) {
  weft_status status;
  while ((status = r->driver->read_state(r->driver, read, &r->error)) == WEFT_PENDING) {
    status = r->driver->poll(r->driver, true, &r->error);
    if (status < 0) return status;
  }
  return status;
}

static weft_status read_back(weft_gpu_id buffer, uint64_t offset, uint64_t bytes, void *to) {
  weft_gpu_id read;
  WEFT_TRY(r->driver->read(r->driver, buffer, offset, bytes, to, &read, &r->error));
  return await_read(read);
}

static weft_gpu_id new_buffer(uint64_t bytes) {
  weft_gpu_id buffer;
  CHECK_OK(r->driver->buffer_open(r->driver, bytes, &buffer, &r->error), &r->error);
  return buffer;
}

static void write_words(weft_gpu_id buffer, uint64_t offset, const uint32_t *words,
                        uint64_t count) {
  CHECK_OK(r->driver->write(r->driver, buffer, offset, words, 4 * count, &r->error), &r->error);
}

static uint32_t word_of(weft_gpu_id buffer, uint64_t offset) {
  uint32_t word = 0xbad;
  CHECK_OK(read_back(buffer, offset, 4, &word), &r->error);
  return word;
}

/* A table of commands. */
enum { TABLE_WORDS = 1 << 16 };
typedef struct table {
  uint32_t words[TABLE_WORDS];
  uint32_t count;
} table;
static table commands;

static void add_copy(weft_gpu_id from, uint64_t from_offset, weft_gpu_id to, uint64_t to_offset,
                     uint64_t bytes) {
  const uint32_t words[] = {WEFT_GPU_COPY | 9 << 8,
                            from,
                            (uint32_t)from_offset,
                            (uint32_t)(from_offset >> 32),
                            to,
                            (uint32_t)to_offset,
                            (uint32_t)(to_offset >> 32),
                            (uint32_t)bytes,
                            (uint32_t)(bytes >> 32)};
  memcpy(commands.words + commands.count, words, sizeof words);
  commands.count += 9;
}

static void add_dispatch(weft_gpu_id pipeline, weft_gpu_id group, uint32_t groups,
                         const uint32_t *params, uint32_t count) {
  const uint32_t words[] = {WEFT_GPU_DISPATCH | (6 + count) << 8, pipeline, group, groups, 1, 1};
  memcpy(commands.words + commands.count, words, sizeof words);
  if (count) memcpy(commands.words + commands.count + 6, params, count * sizeof *params);
  commands.count += 6 + count;
}

static void add_time(uint32_t n) {
  commands.words[commands.count++] = WEFT_GPU_TIME | 2 << 8;
  commands.words[commands.count++] = n;
}

static weft_status submit(void) {
  weft_status status = r->driver->submit(r->driver, commands.words, commands.count, &r->error);
  commands.count = 0;
  return status;
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* One workgroup adds to its word of `to` that of `from` and the sum of its parameters, each times
 * its number from 1. */
static void write_kernel(weft_text *text, uint32_t params, bool immediates) {
  weft_text_add(text, "@group(0) @binding(0) var<storage, read> source: array<u32>;\n"
                      "@group(0) @binding(1) var<storage, read_write> result: array<u32>;\n");
  if (params) {
    weft_text_add(text, "struct Params {\n");
    for (uint32_t i = 0; i < params; i++) weft_text_add(text, "  p%u: u32,\n", i);
    weft_text_add(text, immediates ? "}\nvar<immediate> params: Params;\n"
                                   : "}\n@group(0) @binding(2) var<uniform> params: Params;\n");
  }
  weft_text_add(text, "@compute @workgroup_size(1)\n"
                      "fn main(@builtin(workgroup_id) id: vec3<u32>) {\n"
                      "  result[id.x] += source[id.x]");
  for (uint32_t i = 0; i < params; i++) weft_text_add(text, " + params.p%u * %uu", i, i + 1);
  weft_text_add(text, ";\n}\n");
}

static weft_status await_pipeline(weft_gpu_id pipeline) {
  weft_status status;
  while ((status = r->driver->pipeline_state(r->driver, pipeline, &r->error)) == WEFT_PENDING)
    WEFT_TRY(r->driver->poll(r->driver, true, &r->error));
  return status;
}

static weft_status open_kernel(uint32_t params, bool immediates, weft_gpu_id *out) {
  char buffer[8192];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  write_kernel(&text, params, immediates);
  weft_gpu_pipeline pipeline = {.label = "test",
                                .wgsl = buffer,
                                .wgsl_length = text.length,
                                .binding_count = 2,
                                .writes = 2,
                                .param_words = params,
                                .immediates = immediates};
  WEFT_TRY(r->driver->pipeline_open(r->driver, &pipeline, out, &r->error));
  return await_pipeline(*out);
}

static weft_gpu_id new_kernel(uint32_t params, bool immediates) {
  weft_gpu_id kernel = 0;
  CHECK_OK(open_kernel(params, immediates, &kernel), &r->error);
  return kernel;
}

static weft_gpu_id new_group(weft_gpu_id kernel, weft_gpu_id from, weft_gpu_id to) {
  const weft_gpu_id buffers[] = {from, to};
  weft_gpu_id group;
  CHECK_OK(r->driver->group_open(r->driver, kernel, buffers, 2, &group, &r->error), &r->error);
  return group;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_zeroed(void) {
  weft_gpu_id buffer = new_buffer(1 << 20);
  CHECK_INT(word_of(buffer, 0), 0);
  CHECK_INT(word_of(buffer, (1 << 20) - 4), 0);
  const uint32_t word = 7;
  write_words(buffer, 64, &word, 1);
  r->driver->buffer_close(r->driver, buffer);
  buffer = new_buffer(1 << 20);
  CHECK_INT(word_of(buffer, 64), 0);
  r->driver->buffer_close(r->driver, buffer);
}

static void test_round_trips(void) {
  weft_gpu_id buffer = new_buffer(64);
  uint32_t words[16], expected[16] = {0};
  for (uint32_t offset = 0; offset < 16; offset += 3) {
    for (uint32_t count = 0; offset + count <= 16; count += 5) {
      for (uint32_t i = 0; i < count; i++) words[i] = expected[offset + i] = offset * 100 + i;
      write_words(buffer, 4 * offset, words, count);
      CHECK_OK(read_back(buffer, 0, 64, words), &r->error);
      CHECK(memcmp(words, expected, 64) == 0);
      CHECK_OK(read_back(buffer, 4 * offset, 4, words), &r->error);
      CHECK_INT(words[0], expected[offset]);
    }
  }
  r->driver->buffer_close(r->driver, buffer);
}

/* More than a driver keeps back in one piece. */
static void test_large_write(void) {
  enum { COUNT = (40 << 20) / 4 };
  uint32_t *words = malloc(sizeof *words * COUNT);
  weft_gpu_id buffer = new_buffer(4 * COUNT);
  for (uint32_t i = 0; i < COUNT; i++) words[i] = i * 2654435761u;
  write_words(buffer, 0, words, COUNT);
  memset(words, 0, sizeof *words * COUNT); /* ours again */
  CHECK_OK(read_back(buffer, 0, 4 * COUNT, words), &r->error);
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < COUNT; i++) wrong += words[i] != i * 2654435761u;
  CHECK_INT(wrong, 0);
  free(words);
  r->driver->buffer_close(r->driver, buffer);
}

static void test_order_of_copies(void) {
  weft_gpu_id a = new_buffer(16), b = new_buffer(16), c = new_buffer(16);
  const uint32_t first[4] = {1, 2, 3, 4}, second[4] = {5, 6, 7, 8};
  write_words(a, 0, first, 4);
  add_copy(a, 0, b, 4, 8);  /* b: 0 1 2 0 */
  add_copy(b, 4, c, 0, 12); /* c: 1 2 0 0: sees the first copy */
  CHECK_OK(submit(), &r->error);
  write_words(a, 0, second, 4); /* after what was submitted */
  add_copy(a, 4, c, 12, 4);     /* c: 1 2 0 6 */
  CHECK_OK(submit(), &r->error);
  uint32_t words[4];
  CHECK_OK(read_back(c, 0, 16, words), &r->error);
  CHECK(words[0] == 1 && words[1] == 2 && words[2] == 0 && words[3] == 6);
  CHECK_INT(word_of(b, 8), 2);
  r->driver->buffer_close(r->driver, a);
  r->driver->buffer_close(r->driver, b);
  r->driver->buffer_close(r->driver, c);
}

static void test_reads(void) {
  weft_gpu_id buffer = new_buffer(1 << 16), reads[3];
  uint32_t words[] = {11, 22}, got[3] = {0};
  write_words(buffer, 0, words, 2);
  for (uint32_t i = 0; i < 2; i++)
    CHECK_OK(r->driver->read(r->driver, buffer, 4 * i, 4, &got[i], &reads[i], &r->error),
             &r->error);
  CHECK_OK(r->driver->read(r->driver, buffer, 0, 4, &got[2], &reads[2], &r->error), &r->error);
  r->driver->read_drop(r->driver, reads[2]);
  write_words(buffer, 0, words + 1, 1); /* later than the reads */
  CHECK_OK(await_read(reads[1]), &r->error);
  CHECK_OK(await_read(reads[0]), &r->error);
  CHECK(got[0] == 11 && got[1] == 22 && got[2] == 0);
  CHECK_INT(word_of(buffer, 0), 22);
  /* The numbers are free again. */
  CHECK(r->driver->read_state(r->driver, reads[0], &r->error) == WEFT_INTERNAL);
  CHECK(r->driver->read_state(r->driver, reads[2], &r->error) == WEFT_INTERNAL);
  r->driver->buffer_close(r->driver, buffer);
}

/* ---- kernels --------------------------------------------------------------------------------- */

static void check_params(uint32_t count, bool immediates) {
  uint32_t params[WEFT_GPU_PARAMS_MAX], sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    params[i] = i * i + 3;
    sum += params[i] * (i + 1);
  }
  weft_gpu_id a = new_buffer(16), b = new_buffer(16);
  weft_gpu_id kernel = new_kernel(count, immediates), group = new_group(kernel, a, b);
  const uint32_t words[] = {10, 20, 30, 40};
  write_words(a, 0, words, 4);
  add_dispatch(kernel, group, 3, params, count);
  CHECK_OK(submit(), &r->error);
  if (r->executes) {
    CHECK_INT(word_of(b, 0), 10 + sum);
    CHECK_INT(word_of(b, 8), 30 + sum);
    CHECK_INT(word_of(b, 12), 0);
  }
  r->driver->group_close(r->driver, group);
  r->driver->pipeline_close(r->driver, kernel);
  r->driver->buffer_close(r->driver, a);
  r->driver->buffer_close(r->driver, b);
}

static void test_params(void) {
  const uint32_t counts[] = {0, 1, 2, 5, WEFT_GPU_PARAMS_MAX};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    check_params(counts[i], false);
    if (counts[i] && 4 * counts[i] <= r->driver->facts.immediate_bytes)
      check_params(counts[i], true);
  }
  if (r->driver->facts.immediate_bytes) check_params(r->driver->facts.immediate_bytes / 4, true);
}

/* Kernels and copies between two buffers, each seeing what the one before has left; parameters by
 * turns as uniforms and, where there are some, as immediates. More uniforms than one trip to the
 * queue may have. */
static void test_order_of_dispatches(void) {
  weft_gpu_id a = new_buffer(16), b = new_buffer(16);
  bool immediates = r->driver->facts.immediate_bytes >= 4;
  weft_gpu_id kernels[] = {new_kernel(1, false), new_kernel(1, immediates)};
  weft_gpu_id there[] = {new_group(kernels[0], a, b), new_group(kernels[1], a, b)};
  weft_gpu_id back[] = {new_group(kernels[0], b, a), new_group(kernels[1], b, a)};
  uint32_t x = 1, y = 0;
  write_words(a, 0, &x, 1);
  uint64_t dispatches = r->counts.dispatches;
  for (uint32_t i = 0; i < 2500; i++) {
    add_dispatch(kernels[i & 1], there[i & 1], 1, &i, 1);
    y += x + i;
    add_dispatch(kernels[i >> 1 & 1], back[i >> 1 & 1], 1, &i, 1);
    x += y + i;
    if (i % 100 == 99) {
      add_copy(a, 0, b, 0, 4);
      y = x;
    }
  }
  CHECK_OK(submit(), &r->error);
  if (r->executes) {
    CHECK_INT(word_of(a, 0), x);
    CHECK_INT(word_of(b, 0), y);
  } else {
    CHECK_INT(r->counts.dispatches - dispatches, 5000);
  }
  for (int i = 0; i < 2; i++) {
    r->driver->group_close(r->driver, there[i]);
    r->driver->group_close(r->driver, back[i]);
    r->driver->pipeline_close(r->driver, kernels[i]);
  }
  r->driver->buffer_close(r->driver, a);
  r->driver->buffer_close(r->driver, b);
}

/* What the facts promise compiles, and computes. */
static void check_feature(bool has, const char *head, const char *value, uint32_t expected) {
  if (!has || !r->executes) return;
  char buffer[512];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  weft_text_add(&text,
                "%s@group(0) @binding(0) var<storage, read_write> result: array<u32>;\n"
                "@compute @workgroup_size(1) fn main() { let x = result[0]; result[0] = %s; }\n",
                head, value);
  const weft_gpu_pipeline pipeline = {.label = "feature",
                                      .wgsl = buffer,
                                      .wgsl_length = text.length,
                                      .binding_count = 1,
                                      .writes = 1};
  const uint32_t seven = 7;
  weft_gpu_id a = new_buffer(16), kernel, group = 0;
  write_words(a, 0, &seven, 1);
  CHECK_OK(r->driver->pipeline_open(r->driver, &pipeline, &kernel, &r->error), &r->error);
  if (CHECK_OK(await_pipeline(kernel), &r->error)) {
    CHECK_OK(r->driver->group_open(r->driver, kernel, &a, 1, &group, &r->error), &r->error);
    add_dispatch(kernel, group, 1, NULL, 0);
    CHECK_OK(submit(), &r->error);
    if (!CHECK_INT(word_of(a, 0), expected)) check_print("  by %s\n", value);
  }
  r->driver->group_close(r->driver, group);
  r->driver->pipeline_close(r->driver, kernel);
  r->driver->buffer_close(r->driver, a);
}

static void test_features(void) {
  const weft_gpu_facts *facts = &r->driver->facts;
  check_feature(true, "", "x * 3u", 21);
  check_feature(facts->f16, "enable f16;\n", "u32(f16(x) * 1.5h)", 10);
  check_feature(facts->dot8, "", "dot4U8Packed(x, 0x01010109u)", 63);
  check_feature(facts->dot8, "", "u32(dot4I8Packed(x * 256u, 0xff02u) + 8)", 1);
  check_feature(facts->subgroups, facts->subgroups_implied ? "" : "enable subgroups;\n",
                "subgroupAdd(x)", 7);
  CHECK(facts->subgroup_min >= 4 && facts->subgroup_min <= facts->subgroup_max);
  CHECK(facts->storage_buffers >= 8 && facts->workgroup_storage >= 16384);
  CHECK(facts->buffer_bytes % 16 == 0 && facts->binding_bytes % 16 == 0);
  CHECK(facts->binding_bytes >= 128 << 20 && facts->buffer_bytes >= 256 << 20);
}

static bool contains(const char *text, const char *part) {
  for (; *text; text++)
    if (strlen(text) >= strlen(part) && memcmp(text, part, strlen(part)) == 0) return true;
  return false;
}

static void test_compile_error(void) {
  if (!r->executes) return;
  static const char wgsl[] = "@compute @workgroup_size(1) fn main() { let x = no_such_name; }";
  const weft_gpu_pipeline pipeline = {
      .label = "wrong", .wgsl = wgsl, .wgsl_length = sizeof wgsl - 1};
  weft_gpu_id id;
  CHECK_OK(r->driver->pipeline_open(r->driver, &pipeline, &id, &r->error), &r->error);
  CHECK(await_pipeline(id) == WEFT_INTERNAL);
  static const char says[] = "the GPU's compiler refuses wrong: ";
  bool good = CHECK(memcmp(r->error.message, says, sizeof says - 1) == 0) &&
              CHECK(contains(r->error.message, "no_such_name")) &&
              CHECK(!contains(r->error.message, "\n"));
  if (!good) check_print("  %s\n", r->error.message);
  weft_gpu_id group;
  CHECK(r->driver->group_open(r->driver, id, NULL, 0, &group, &r->error) == WEFT_INTERNAL);
  CHECK(memcmp(r->error.message, says, sizeof says - 1) == 0); /* for each who uses it */
  r->driver->pipeline_close(r->driver, id);
  check_params(1, false); /* all else goes on */
}

static void test_times(void) {
  weft_gpu_id read;
  uint64_t times[3] = {0};
  if (!r->driver->facts.timestamps) {
    CHECK(r->driver->read_times(r->driver, 1, times, &read, &r->error) == WEFT_INTERNAL);
    return;
  }
  weft_gpu_id a = new_buffer(1 << 20), b = new_buffer(1 << 20);
  weft_gpu_id kernel = new_kernel(0, false), group = new_group(kernel, a, b);
  add_time(0);
  for (int i = 0; i < 4; i++) add_dispatch(kernel, group, 65535, NULL, 0);
  add_time(1);
  add_time(2);
  CHECK_OK(submit(), &r->error);
  CHECK_OK(r->driver->read_times(r->driver, 3, times, &read, &r->error), &r->error);
  CHECK_OK(await_read(read), &r->error);
  /* Browsers round them. 200,000 workgroups take longer than a microsecond, and not a minute. */
  CHECK(times[0] && times[0] < times[1] && times[1] <= times[2]);
  CHECK(!r->executes || (times[1] - times[0] > 1000 && times[1] - times[0] < 60000000000u));
  r->driver->group_close(r->driver, group);
  r->driver->pipeline_close(r->driver, kernel);
  r->driver->buffer_close(r->driver, a);
  r->driver->buffer_close(r->driver, b);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* A failure may come with the call, or be kept for a later one. */
static weft_status outcome(weft_status status) {
  for (int i = 0; status == WEFT_OK && i < 100; i++)
    status = r->driver->poll(r->driver, i > 0, &r->error);
  return status;
}
#define CHECK_REFUSED(call) CHECK_INT(outcome(call), WEFT_INTERNAL)

static void test_wrong_ranges(void) {
  weft_gpu_driver *d = r->driver;
  weft_gpu_id a = new_buffer(64), b = new_buffer(64), read;
  uint32_t words[16] = {0};
  CHECK_REFUSED(d->write(d, a, 60, words, 8, &r->error));
  CHECK_REFUSED(d->write(d, a, 2, words, 8, &r->error));
  CHECK_REFUSED(d->write(d, a, 0, words, 6, &r->error));
  CHECK_REFUSED(d->read(d, a, 64, 4, words, &read, &r->error));
  CHECK_REFUSED(d->read(d, a, 2, 4, words, &read, &r->error));
  add_copy(a, 0, b, 60, 8);
  CHECK_REFUSED(submit());
  add_copy(a, 0, b, 0, 6);
  CHECK_REFUSED(submit());
  add_copy(a, 0, a, 32, 16);
  CHECK_REFUSED(submit());
  commands.words[0] = WEFT_GPU_COPY | 9 << 8;
  commands.count = 4; /* breaks off */
  CHECK_REFUSED(submit());
  commands.words[0] = 77 | 1 << 8;
  commands.count = 1;
  CHECK_REFUSED(submit());
  d->buffer_close(d, a);
  d->buffer_close(d, a); /* nothing */
  CHECK_REFUSED(d->write(d, a, 0, words, 4, &r->error));
  CHECK_REFUSED(d->read(d, a, 0, 4, words, &read, &r->error));
  add_copy(a, 0, b, 0, 4);
  CHECK_REFUSED(submit());
  CHECK_INT(word_of(b, 0), 0); /* all else goes on */
  d->buffer_close(d, b);
}

static void test_wrong_kernels(void) {
  weft_gpu_driver *d = r->driver;
  weft_gpu_id a = new_buffer(64), b = new_buffer(64), other;
  weft_gpu_id kernel = new_kernel(1, false), group = new_group(kernel, a, b);
  weft_gpu_id alias = new_group(kernel, a, a);
  const uint32_t params[2] = {0};
  add_dispatch(kernel, alias, 1, params, 1);
  CHECK_REFUSED(submit());
  add_dispatch(kernel, group, 1, params, 2);
  CHECK_REFUSED(submit());
  add_dispatch(kernel, group, d->facts.workgroups + 1, params, 1);
  CHECK_REFUSED(submit());
  CHECK_REFUSED(d->group_open(d, kernel, &a, 1, &other, &r->error));
  d->group_close(d, alias);
  add_dispatch(kernel, alias, 1, params, 1);
  CHECK_REFUSED(submit());
  d->buffer_close(d, b);
  if (!r->executes) { /* the native driver closes it with the group that binds it */
    add_dispatch(kernel, group, 1, params, 1);
    CHECK_REFUSED(submit());
  }
  const weft_gpu_id closed[] = {a, b};
  CHECK_REFUSED(d->group_open(d, kernel, closed, 2, &other, &r->error));
  d->group_close(d, group);
  d->pipeline_close(d, kernel);
  CHECK_REFUSED(d->pipeline_state(d, kernel, &r->error));
  CHECK_INT(word_of(a, 0), 0); /* all else goes on */
  d->buffer_close(d, a);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Closing takes along what is open and what is under way. */
static void test_close(const char *adapter) {
  rig other, *outer = r;
  uint32_t word = 0;
  if (open_rig(&other, adapter, outer->executes)) {
    weft_gpu_id a = new_buffer(1 << 20), b = new_buffer(1 << 20), read;
    weft_gpu_id kernel = new_kernel(0, false), group = new_group(kernel, a, b);
    for (int i = 0; i < 4; i++) add_dispatch(kernel, group, 65535, NULL, 0);
    CHECK_OK(submit(), &r->error);
    CHECK_OK(r->driver->read(r->driver, b, 0, 4, &word, &read, &r->error), &r->error);
  }
  close_rig();
  if (!outer->executes) CHECK(r->counts.buffers + r->counts.pipelines + r->counts.groups == 0);
  r = outer;
}

/* With a read under way; then nothing but closing is left to do. */
static void test_lost(const char *adapter) {
  rig other, *outer = r;
  uint32_t word = 0;
  if (open_rig(&other, adapter, true)) {
    weft_gpu_driver *d = r->driver;
    weft_gpu_id a = new_buffer(1 << 20), b, read;
    CHECK_OK(d->read(d, a, 0, 4, &word, &read, &r->error), &r->error);
    weft_gpu_native_lose(d);
    weft_status status = await_read(read);
    CHECK(status == WEFT_OK || status == WEFT_DEVICE_LOST);
    for (int i = 0; i < 2; i++) {
      CHECK_INT(outcome(d->buffer_open(d, 64, &b, &r->error)), WEFT_DEVICE_LOST);
      CHECK_INT(d->write(d, a, 0, &word, 4, &r->error), WEFT_DEVICE_LOST);
      CHECK_INT(d->poll(d, true, &r->error), WEFT_DEVICE_LOST);
    }
    CHECK(open_kernel(1, false, &b) == WEFT_DEVICE_LOST);
    d->buffer_close(d, a);
  }
  close_rig();
  r = outer;
}

/* ---- the null driver's faults ---------------------------------------------------------------- */

/* One of everything. */
static weft_status scenario(void) {
  weft_gpu_driver *d = r->driver;
  weft_gpu_id buffers[2], kernel, group;
  uint32_t words[4] = {1, 2, 3, 4};
  for (int i = 0; i < 2; i++) WEFT_TRY(d->buffer_open(d, 16, &buffers[i], &r->error));
  WEFT_TRY(d->write(d, buffers[0], 0, words, 16, &r->error));
  WEFT_TRY(open_kernel(1, false, &kernel));
  WEFT_TRY(d->group_open(d, kernel, buffers, 2, &group, &r->error));
  add_dispatch(kernel, group, 1, words, 1);
  add_copy(buffers[0], 0, buffers[1], 8, 8);
  WEFT_TRY(submit());
  WEFT_TRY(read_back(buffers[1], 0, 16, words));
  uint32_t computed = r->executes ? 2 : 0;
  return words[0] == computed && words[3] == 2 ? WEFT_OK : WEFT_INVALID_DATA;
}

/* Call n fails, for each n; the answer must be this failure, and nothing may stay open. */
static void check_calls_failing(weft_status status) {
  uint64_t n = 0;
  weft_status answer = status;
  for (; answer != WEFT_OK;) {
    rig null;
    commands.count = 0;
    if (!open_rig(&null, "null", false)) return;
    r->counts.pending = 2;
    r->counts.fail_call = ++n;
    r->counts.fail_status = status;
    answer = scenario();
    CHECK(answer == WEFT_OK || answer == status);
    CHECK_INT(r->counts.calls < n, answer == WEFT_OK);
    if (answer == WEFT_DEVICE_LOST)
      CHECK(r->driver->poll(r->driver, false, &r->error) == WEFT_DEVICE_LOST);
    close_rig();
    CHECK(r->counts.buffers + r->counts.pipelines + r->counts.groups + r->counts.reads == 0);
  }
  CHECK(n > 12);
}

static void test_calls_failing(void) {
  check_calls_failing(WEFT_INTERNAL);
  check_calls_failing(WEFT_OUT_OF_MEMORY);
  check_calls_failing(WEFT_DEVICE_LOST);
}

/* Memory of the host's up to ever higher limits, until it suffices. */
static void test_memory(const char *adapter, bool executes) {
  weft_status status = WEFT_OUT_OF_MEMORY;
  uint32_t refused = 0;
  for (uint64_t limit = 64; status != WEFT_OK && limit < 1 << 24; limit += limit / 8 + 32) {
    rig small = {.executes = executes};
    r = &small;
    commands.count = 0;
    weft_allocator allocator = weft_host_allocator();
    weft_heap_init(&small.heap, &allocator, NULL, limit);
    status = open_driver(adapter);
    if (status == WEFT_OK) status = scenario();
    CHECK(status == WEFT_OK || status == WEFT_LIMIT_EXCEEDED);
    refused += status != WEFT_OK;
    close_rig();
  }
  CHECK(status == WEFT_OK && refused > 0);
}

/* ---- main ------------------------------------------------------------------------------------ */

typedef struct named_test {
  const char *name;
  void (*run)(void);
} named_test;
#define NAMED(test) {#test, test}

static const named_test tests[] = {
    NAMED(test_zeroed),
    NAMED(test_round_trips),
    NAMED(test_large_write),
    NAMED(test_order_of_copies),
    NAMED(test_reads),
    NAMED(test_params),
    NAMED(test_order_of_dispatches),
    NAMED(test_compile_error),
    NAMED(test_features),
    NAMED(test_times),
    NAMED(test_wrong_ranges),
    NAMED(test_wrong_kernels),
};

static void run_tests(const char *adapter, bool executes) {
  rig tested;
  bool opened = open_rig(&tested, adapter, executes);
  for (size_t i = 0; opened && i < sizeof tests / sizeof *tests; i++) {
    unsigned failures = check_failures;
    tests[i].run();
    check_print("%s %s (%s)\n", check_failures == failures ? "pass" : "FAIL", tests[i].name,
                executes ? r->driver->facts.device : "null");
  }
  if (opened) test_close(adapter);
  close_rig();
}

int main(int argc, char **argv) {
  const char *adapter = argc > 1 ? argv[1] : getenv("WEFT_GPU_ADAPTER");
  run_tests("null", false);
  CHECK_RUN(test_calls_failing);
  test_memory("null", false);
  if (!adapter || strcmp(adapter, "null") != 0) {
    run_tests(adapter, true);
    test_lost(adapter);
    test_memory(adapter, true);
  }
  return check_result();
}
