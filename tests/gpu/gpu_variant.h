/* gpu_variant.h - for people: what a variant of a matrix product is, by its number. */
#ifndef WEFT_TESTS_GPU_GPU_VARIANT_H
#define WEFT_TESTS_GPU_GPU_VARIANT_H

#include "gpu/matmul.h"
#include "gpu/tuner_table.h"
#include "tests/gpu/gpu_step.h"

/* The key's words are those of choose() in src/gpu/matmul.c. */
static inline void gpu_print_variant(const gpu_bench *g, const weft_tune_entry *entry,
                                     uint32_t variant) {
  const uint32_t *words = entry->words;
  weft_matmul_shape shape = {.m = words[0],
                             .n = words[1],
                             .k = words[2],
                             .batches = words[3],
                             .bits = words[4] & 255,
                             .rounded = words[4] >> 8 & 1,
                             .norm = words[4] >> 9 & 1,
                             .paired = words[4] >> 10 & 1,
                             .block = words[5],
                             .f16 = words[4] >> 11 & 1};
  weft_matmul_variant variants[WEFT_MATMUL_VARIANTS_MAX];
  if (strcmp(entry->family, "matmul") != 0) return;
  weft_matmul_variants(g->gpu->facts, &shape, variants);
  const weft_matmul_variant *v = &variants[variant];
  check_print("  %ux%u lanes of %ux%u, k %u, strip %u, %u parts%s%s%s", v->wx, v->wy, v->rows,
              v->quads, v->tile_k, v->strip, v->splits, v->swizzle ? ", swizzled" : "",
              v->f16 ? ", f16" : "", v->subgroups ? ", subgroups" : "");
}

#endif
