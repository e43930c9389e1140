/* kernel_cache.c - variants by contents. A look-up hashes what describes a variant and compares the
 * hashes alone: 128 bits of names that are ours and of an expression. */
#include "gpu/kernel_cache.h"
#include "base/memory.h"
#include "base/text.h"

typedef struct cache_key {
  uint64_t a, b;
} cache_key;

typedef struct cache_entry {
  cache_key key;
  weft_gpu_kernel *kernel; /* NULL: free */
} cache_entry;

struct weft_kernel_cache {
  weft_heap *heap;
  weft_gpu_driver *driver;
  cache_entry *entries;
  uint32_t room, count; /* room: a power of two */
  uint32_t pending;
};

/* ---- keys ------------------------------------------------------------------------------------ */

static void mix(cache_key *key, uint64_t value) {
  key->a = (key->a ^ value) * 0x9e3779b97f4a7c15u;
  key->a ^= key->a >> 29;
  key->b = (key->b + value) * 0xd6e8feb86659fd93u;
  key->b ^= key->b >> 32;
}

/* Names are static: the same address is the same name. Should the linker leave two of one name, a
 * variant is compiled twice. */
static void mix_name(cache_key *key, const char *name) {
  mix(key, (uintptr_t)name);
}

static void mix_expr(cache_key *key, const weft_expr *expr) {
  mix(key, (uint64_t)expr->input_count << 8 | expr->code_count);
  for (uint32_t i = 0; i < expr->input_count; i++) mix(key, expr->input_dtypes[i]);
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *in = &expr->code[i];
    mix(key, (uint64_t)in->op | (uint64_t)in->dtype << 8 | (uint64_t)in->operands[0] << 16 |
                 (uint64_t)in->operands[1] << 24 | (uint64_t)in->operands[2] << 32);
    if (in->op == WEFT_EXPR_CONSTANT) mix(key, (uint64_t)in->immediate.i);
  }
}

static cache_key key_of(const weft_shader *shader) {
  cache_key key = {0x243f6a8885a308d3u, 0x13198a2e03707344u};
  mix_name(&key, shader->file);
  mix(&key, (uint64_t)shader->binding_count | (uint64_t)shader->param_words << 8 |
                (uint64_t)shader->subgroup_size << 32 | (uint64_t)shader->f16 << 61 |
                (uint64_t)shader->subgroups << 62 | (uint64_t)shader->matrix << 63);
  for (uint32_t i = 0; i < shader->binding_count; i++) {
    const weft_shader_binding *binding = &shader->bindings[i];
    mix_name(&key, binding->name);
    mix(&key,
        (uint64_t)binding->dtype | (uint64_t)binding->raw << 8 | (uint64_t)binding->writes << 16);
  }
  for (uint32_t i = 0; i < shader->define_count; i++) {
    mix_name(&key, shader->defines[i].name);
    mix(&key, shader->defines[i].value);
  }
  if (shader->expr) mix_expr(&key, shader->expr);
  return key;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* The key's entry, or the free one where it belongs. */
static cache_entry *place_of(const weft_kernel_cache *cache, cache_key key) {
  for (uint32_t i = (uint32_t)key.a;; i++) {
    cache_entry *entry = &cache->entries[i & (cache->room - 1)];
    if (!entry->kernel || (entry->key.a == key.a && entry->key.b == key.b)) return entry;
  }
}

static weft_status grow(weft_kernel_cache *cache, weft_error *error) {
  weft_kernel_cache larger = *cache;
  larger.room = cache->room ? 2 * cache->room : 64;
  uint64_t bytes = larger.room * sizeof *larger.entries;
  larger.entries = weft_heap_allocate_zeroed(cache->heap, bytes);
  if (!larger.entries) return weft_heap_fail(cache->heap, bytes, "the GPU's kernels", error);
  for (uint32_t i = 0; i < cache->room; i++)
    if (cache->entries[i].kernel) *place_of(&larger, cache->entries[i].key) = cache->entries[i];
  weft_heap_release(cache->heap, cache->entries, cache->room * sizeof *cache->entries);
  *cache = larger;
  return WEFT_OK;
}

weft_status weft_kernel_cache_open(weft_heap *heap, weft_gpu_driver *driver,
                                   weft_kernel_cache **out, weft_error *error) {
  *out = NULL;
  weft_kernel_cache *cache = weft_heap_allocate_zeroed(heap, sizeof *cache);
  if (!cache) return weft_heap_fail(heap, sizeof *cache, "the GPU's kernels", error);
  *cache = (weft_kernel_cache){.heap = heap, .driver = driver};
  *out = cache;
  return WEFT_OK;
}

void weft_kernel_cache_close(weft_kernel_cache *cache) {
  if (!cache) return;
  for (uint32_t i = 0; i < cache->room; i++) {
    weft_gpu_kernel *kernel = cache->entries[i].kernel;
    if (!kernel) continue;
    cache->driver->pipeline_close(cache->driver, kernel->pipeline);
    weft_heap_release(cache->heap, kernel, sizeof *kernel);
  }
  weft_heap_release(cache->heap, cache->entries, cache->room * sizeof *cache->entries);
  weft_heap_release(cache->heap, cache, sizeof *cache);
}

/* ---- compiling ------------------------------------------------------------------------------- */

/* The kernel, and the node that asked first. WebGPU wants UTF-8, which names in files may not be.
 */
static void write_label(const weft_shader *shader, char *label, size_t size) {
  weft_text text = {.buffer = label, .size = size};
  weft_text_add(&text, "%s", shader->file);
  if (shader->asker.length) weft_text_add(&text, " for node '%.*s'", WEFT_STR_ARGS(shader->asker));
  for (; *label; label++)
    if (*label < ' ' || *label > '~') *label = '?';
}

static weft_status compile_text(weft_kernel_cache *cache, const weft_shader *shader,
                                const weft_text *text, weft_gpu_id *out, weft_error *error) {
  const weft_gpu_facts *facts = &cache->driver->facts;
  char label[128];
  write_label(shader, label, sizeof label);
  weft_gpu_pipeline pipeline = {
      .label = label,
      .wgsl = text->buffer,
      .wgsl_length = text->length,
      .binding_count = shader->binding_count,
      .param_words = shader->param_words,
      .immediates = shader->param_words > 0 && 4 * shader->param_words <= facts->immediate_bytes,
  };
  for (uint32_t i = 0; i < shader->binding_count; i++)
    if (shader->bindings[i].writes) pipeline.writes |= 1u << i;
  return cache->driver->pipeline_open(cache->driver, &pipeline, out, error);
}

static void count_text(void *user, const char *text, size_t length) {
  (void)user, (void)text, (void)length;
}

static weft_status compile(weft_kernel_cache *cache, const weft_shader *shader, weft_gpu_id *out,
                           weft_error *error) {
  /* Once to learn the length, once to write. */
  weft_text text = {.write = count_text};
  WEFT_TRY(weft_shader_write(shader, &cache->driver->facts, &text, error));
  size_t size = text.length + 1;
  char *buffer = weft_heap_allocate(cache->heap, size);
  if (!buffer) return weft_heap_fail(cache->heap, size, "a shader", error);
  text = (weft_text){.buffer = buffer, .size = size};
  weft_status status = weft_shader_write(shader, &cache->driver->facts, &text, error);
  if (status == WEFT_OK) status = compile_text(cache, shader, &text, out, error);
  weft_heap_release(cache->heap, buffer, size);
  return status;
}

weft_status weft_kernel_find(weft_kernel_cache *cache, const weft_shader *shader,
                             const weft_gpu_kernel **out, weft_error *error) {
  if (2 * cache->count >= cache->room) WEFT_TRY(grow(cache, error));
  cache_key key = key_of(shader);
  cache_entry *entry = place_of(cache, key);
  if (!entry->kernel) {
    weft_gpu_kernel *kernel = weft_heap_allocate_zeroed(cache->heap, sizeof *kernel);
    if (!kernel) return weft_heap_fail(cache->heap, sizeof *kernel, "a GPU kernel", error);
    kernel->name = shader->file;
    kernel->param_words = shader->param_words;
    weft_status status = compile(cache, shader, &kernel->pipeline, error);
    if (status != WEFT_OK) {
      weft_heap_release(cache->heap, kernel, sizeof *kernel);
      return status;
    }
    *entry = (cache_entry){.key = key, .kernel = kernel};
    cache->count++;
    cache->pending++;
  }
  *out = entry->kernel;
  return WEFT_OK;
}

/* Nothing is compiled any more: what failed for good answers so again when it is used. */
static weft_status settle(weft_kernel_cache *cache, cache_entry *entry, weft_error *error) {
  weft_gpu_driver *driver = cache->driver;
  weft_gpu_id pipeline = entry->kernel->pipeline;
  weft_status status = driver->pipeline_state(driver, pipeline, error);
  if (status == WEFT_PENDING) return status;
  /* Another failure than the pipeline's own is answered once. */
  if (status < 0 && driver->pipeline_state(driver, pipeline, NULL) != status) return status;
  entry->kernel->compiled = true;
  cache->pending--;
  return status;
}

weft_status weft_kernels_ready(weft_kernel_cache *cache, weft_error *error) {
  weft_status result = WEFT_OK;
  for (uint32_t i = 0; i < cache->room && cache->pending > 0; i++) {
    cache_entry *entry = &cache->entries[i];
    if (!entry->kernel || entry->kernel->compiled) continue;
    weft_status status = settle(cache, entry, error);
    if (status < 0) return status;
    if (status == WEFT_PENDING) result = WEFT_PENDING;
  }
  return result;
}
