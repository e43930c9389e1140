/* shader.h - from a file of kernels/wgsl/ and a description of one variant to a compiled pipeline.
 *
 * A file holds a `struct Params` of u32, i32 and f32 members (a multiple of 4 bytes, in the order
 * of the dispatch's words; vec4<u32> members at multiples of 4 words), helper functions, and
 * `main`. It is specialised so, by shader.c and nothing else:
 *
 *   #if NAME, #if NAME == 3, #else, #end   lines kept or dropped; #if may be nested. A name that is
 *                                          not defined is 0; it may hold a ${NAME}
 *   #for NAME COUNT, #end                  lines once for each NAME = 0 ... COUNT - 1; COUNT is a
 *                                          number or a define
 *   #include name                          another file, once
 *   ${NAME}, ${NAME/NAME}, ${NAME%NAME}    the number of a define or of a #for; quotient, rest
 *
 * and gets a head: `enable` lines, the declaration of `params`, and for each binding "x" accessors
 * that hide how its elements are stored, computed with as f32 (floats), i32 (i8, i32, i64: the low
 * word) or u32 (u8, bool, u32):
 *
 *   x(i)            element i
 *   x4(i)           elements 4 i ... 4 i + 3 as a vec4
 *   x_store(i, v)   only for types of 4 bytes (i64: sign-extended)
 *   x4_store(i, v)  elements 4 i ... 4 i + 3; dense outputs have room for whole groups of 4
 *   x_raw[i]        the buffer itself, of the binding's `raw` type
 *
 * With an expression it also gets `fn expression(x0: f32, x1: f32, ...) -> f32` (types as above,
 * bool as bool).
 *
 * Types of 2 bytes are two to a word (with facts.f16 nothing changes for callers). */
#ifndef WEFT_GPU_SHADER_H
#define WEFT_GPU_SHADER_H

#include "gpu/driver.h"
#include "graph/expr.h"

#define WEFT_SHADER_DEFINES_MAX 28u

/* The type of a binding's array: what `raw` is declared as. It decides nothing about accessors. */
typedef enum weft_shader_raw {
  WEFT_RAW_WORDS, /* array<u32>; f32 elements: array<f32> */
  WEFT_RAW_VEC4,  /* array<vec4<u32>>; f32 elements: array<vec4<f32>>. x(i) is slow */
  WEFT_RAW_F16,   /* array<f16>, and array<vec4<f16>>: facts.f16 */
  WEFT_RAW_VEC4_F16,
} weft_shader_raw;

typedef struct weft_shader_binding {
  const char *name; /* static */
  weft_dtype dtype;
  weft_shader_raw raw;
  bool writes;
} weft_shader_binding;

typedef struct weft_shader_define {
  const char *name; /* static */
  uint32_t value;
} weft_shader_define;

/* One variant of a shader. Plain data: two with the same contents are the same pipeline. */
typedef struct weft_shader {
  const char *file; /* static; "matmul" for kernels/wgsl/matmul.wgsl */
  uint32_t binding_count, define_count, param_words;
  weft_shader_binding bindings[WEFT_GPU_BINDINGS_MAX];
  weft_shader_define defines[WEFT_SHADER_DEFINES_MAX];
  const weft_expr *expr;       /* NULL: none */
  bool f16, subgroups, matrix; /* features that the variant's file uses: enable lines */
  uint32_t subgroup_size;      /* fixed by @subgroup_size: ${SUBGROUP_SIZE_ATTRIBUTE}; 0: any */
  weft_str asker;              /* a node's name, for messages: no part of the contents */
} weft_shader;

static inline void weft_shader_bind(weft_shader *shader, const char *name, weft_dtype dtype,
                                    weft_shader_raw raw, bool writes) {
  shader->bindings[shader->binding_count++] =
      (weft_shader_binding){.name = name, .dtype = dtype, .raw = raw, .writes = writes};
}
static inline void weft_shader_set(weft_shader *shader, const char *name, uint32_t value) {
  shader->defines[shader->define_count++] = (weft_shader_define){name, value};
}

/* The whole WGSL text of a variant for a device with these facts. WEFT_UNSUPPORTED names the
 * instruction or type of the expression that there is no code for. */
struct weft_text;
weft_status weft_shader_write(const weft_shader *shader, const weft_gpu_facts *facts,
                              struct weft_text *text, weft_error *error);
/* Whether there is WGSL for every instruction and type of the expression. */
bool weft_shader_has_expr(const weft_expr *expr);

/* A file of kernels/wgsl/, embedded by the build; NULL: there is none. */
const char *weft_wgsl_find(const char *name, size_t *length);
/* The name as it is stored, for as long as the program runs; NULL: there is none. */
const char *weft_wgsl_name(const char *name);
/* Changes when any of the files does. */
const char *weft_wgsl_version(void);

/* Compiled variants of one device, by contents. */
typedef struct weft_kernel_cache weft_kernel_cache;

/* A compiled or compiling variant; lives as long as the cache. */
typedef struct weft_gpu_kernel {
  weft_gpu_id pipeline;
  uint32_t param_words;
  const char *name; /* the file's, for profiles */
  bool compiled;    /* or refused, which its users hear */
} weft_gpu_kernel;

weft_status weft_kernel_find(weft_kernel_cache *cache, const weft_shader *shader,
                             const weft_gpu_kernel **out, weft_error *error);
/* WEFT_PENDING while any variant asked for is still compiled. A compiler's failure is answered
 * once: afterwards only to those who use the variant. */
weft_status weft_kernels_ready(weft_kernel_cache *cache, weft_error *error);

#endif
