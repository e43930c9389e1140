/* codes.c - C = A x B with B's weights in few bits and A rounded to 8 bits (codes_pack.c): integer
 * dot products of blocks, each scaled and added up in floats. codes.h has the layout. */
#include "kernels/codes.h"

/* ---- a step: 16 of k ------------------------------------------------------------------------- */

VEC_INLINE i32v mask_of(dot_form form, int bits) {
  if (form == DOT_WORDS)
    return bits == 2   ? I32V_CONST(0x00030003)
           : bits == 4 ? I32V_CONST(0x000F000F)
                       : I32V_CONST(0x00FF00FF);
  return bits == 2 ? I32V_CONST(0x03030303) : I32V_CONST(0x0F0F0F0F);
}

/* Plane `plane` of a byte vector: codes of a group as bytes, or of half a group as 16-bit words. */
VEC_INLINE i8v plane_of(dot_form form, int bits, i8v vector, int plane) {
  if (form != DOT_WORDS && bits == 8) return vector;
  u16v words = (u16v)vector >> (plane * bits);
  if (form == DOT_WORDS && (plane + 1) * bits == 16) return (i8v)words;
  return (i8v)((i32v)words & mask_of(form, bits));
}

/* Where a row has the codes that meet plane `plane` of byte vector `vector` of the step. */
VEC_INLINE int codes_at(dot_form form, int bits, int vector, int plane) {
  int planes = 8 / bits, group = vector * planes + plane % planes;
  return form == DOT_WORDS ? group * 8 + plane / planes * 4 : group * 4;
}

VEC_INLINE i32v add_product(dot_form form, i32v acc, i8v a, i8v b) {
  if (form == DOT_WHOLE) return i32v_dot_i8(acc, a, b);
  if (form == DOT_PAIRS) return (i32v)((i16v)acc + i16v_dot_i8(a, b));
  return i32v_dot_i16(acc, (i16v)a, (i16v)b);
}

/* acc[row][v] += a step of row x b[v] */
VEC_INLINE void add_step(dot_form form, int bits, int rows, int vectors, const char *const *row,
                         const char *const *b, i32v *acc) {
  const int planes = (form == DOT_WORDS ? 16 : 8) / bits;
  VEC_FOR(i, bits / 2) {
    i8v raw[8];
    if (rows == 1) {
      i8v a[8];
      VEC_FOR(p, planes) a[p] = i8v_load_splat(row[0] + codes_at(form, bits, i, p));
      VEC_FOR(v, vectors) {
        raw[0] = i8v_load(b[v / 2] + (v % 2 * bits / 2 + i) * CODES_VECTOR);
        VEC_FOR(p, planes)
        acc[v] = add_product(form, acc[v], a[p], plane_of(form, bits, raw[0], p));
      }
      continue;
    }
    VEC_FOR(v, vectors) raw[v] = i8v_load(b[v / 2] + (v % 2 * bits / 2 + i) * CODES_VECTOR);
    VEC_FOR(p, planes) {
      i8v w[8];
      VEC_FOR(v, vectors) w[v] = plane_of(form, bits, raw[v], p);
      VEC_FOR(r, rows) {
        i8v a = i8v_load_splat(row[r] + codes_at(form, bits, i, p));
        VEC_FOR(v, vectors) {
          i32v *to = &acc[r * vectors + v];
          *to = add_product(form, *to, a, w[v]);
        }
      }
    }
  }
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* Steps that 16 bits hold the sums of: 2 x 127 x 15 x 8 groups, 2 x 127 x 3 x 32 groups. */
VEC_INLINE size_t steps_at_once(dot_form form, int bits) {
  return form != DOT_PAIRS ? SIZE_MAX : bits == 4 ? 2 : 8;
}

typedef struct tile_args {
  size_t blocks, steps; /* in k, in a block */
  bool has_offsets, accumulate;
  const char *a;
  size_t a_row; /* bytes */
  size_t rows;  /* that are there: the last one stands in for others */
  const char *b;
  size_t b_panel; /* bytes */
  float *c;
  size_t ldc, n;
} tile_args;

VEC_INLINE void tile_start(int rows, int vectors, const tile_args *t, float *sums) {
  VEC_FOR(r, rows) {
    const float *c = t->c + ((size_t)r < t->rows ? (size_t)r : t->rows - 1) * t->ldc;
    VEC_FOR(v, vectors) {
      size_t at = (size_t)v * WEFT_LANES;
      f32v start = f32v_splat(0);
      if (t->accumulate && at < t->n) start = f32v_load_upto(c + at, t->n - at);
      f32v_store(sums + (r * vectors + v) * WEFT_LANES, start);
    }
  }
}

VEC_INLINE void tile_end(int rows, int vectors, const tile_args *t, const float *sums) {
  VEC_FOR(r, rows) {
    if ((size_t)r >= t->rows) break;
    VEC_FOR(v, vectors) {
      size_t at = (size_t)v * WEFT_LANES;
      f32v sum = f32v_load(sums + (r * vectors + v) * WEFT_LANES);
      if (at < t->n) f32v_store_upto(t->c + (size_t)r * t->ldc + at, sum, t->n - at);
    }
  }
}

/* The dot products of a block, of `rows` rows and `vectors` vectors of columns, and the start that
 * the zero makes; row and b move on to what is behind the codes. `more` is for sums of several
 * chunks, each as many steps as 16 bits hold. */
VEC_INLINE void block_dots(dot_form form, int bits, int rows, int vectors, size_t steps,
                           const char **row, const char **b, i32v *acc, i32v *more) {
  const size_t at_once = steps_at_once(form, bits), bytes = form == DOT_WORDS ? 2 : 1;
  size_t left = steps;
  VEC_FOR(r, rows) {
    i32v start = (i32v)i8v_load_splat(row[r]);
    VEC_FOR(v, vectors) {
      acc[r * vectors + v] = start;
      if (left > at_once) more[r * vectors + v] = start;
    }
    row[r] += CODES_START;
  }
  do {
    size_t now = left < at_once ? left : at_once;
    VEC_FOR(i, rows * vectors) {
      if (form == DOT_PAIRS && left < steps) more[i] = i32v_add_pairs(more[i], (i16v)acc[i]);
      if (form == DOT_PAIRS) acc[i] = i32v_splat(0);
    }
    left -= now;
    VEC_LOOP for (; now > 0; now--) {
      add_step(form, bits, rows, vectors, row, (const char *const *)b, acc);
      VEC_FOR(r, rows) row[r] += CODES_STEP * bytes;
      VEC_FOR(p, (vectors + 1) / 2) b[p] += bits * CODES_VECTOR;
    }
  } while (left > 0);
  if (form != DOT_PAIRS) return;
  if (steps > at_once) {
    VEC_FOR(i, rows * vectors) acc[i] = i32v_add_pairs(more[i], (i16v)acc[i]);
    return;
  }
  VEC_FOR(r, rows) {
    i32v start = (i32v)i8v_load_splat(row[r] - steps * CODES_STEP - CODES_START);
    VEC_FOR(v, vectors) {
      i32v *dot = &acc[r * vectors + v];
      *dot = i32v_add_pairs(start, (i16v)*dot);
    }
  }
}

/* Adds what a block makes to `sums`, and moves on to the next block. */
VEC_INLINE void add_block(int rows, int vectors, bool has_offsets, const i32v *dots,
                          const char **row, const char **b, float *sums) {
  VEC_FOR(r, rows) {
    const float *end = (const float *)(const void *)row[r];
    f32v scale = f32v_load_splat(end);
    VEC_FOR(v, vectors) {
      const float *scales = (const float *)(const void *)b[v / 2] + v % 2 * WEFT_LANES;
      float *sum = sums + (r * vectors + v) * WEFT_LANES;
      f32v total =
          f32v_fma(f32v_from_i32(dots[r * vectors + v]), scale * f32v_load(scales), f32v_load(sum));
      if (has_offsets)
        total = f32v_fma(f32v_load_splat(end + 1), f32v_load(scales + CODES_COLUMNS), total);
      f32v_store(sum, total);
    }
    row[r] += CODES_END;
  }
  VEC_FOR(p, (vectors + 1) / 2)
  b[p] += (has_offsets ? 2u : 1u) * CODES_COLUMNS * sizeof(float);
}

VEC_INLINE void tile(dot_form form, int bits, int rows, int vectors, const tile_args *t) {
  float sums_memory[8 * WEFT_LANES], *sums = sums_memory;
  i32v more_memory[8], *more = more_memory;
  const char *row[4], *b[4];
  VEC_HIDE(sums);
  VEC_HIDE(more);
  VEC_FOR(r, rows) {
    row[r] = t->a + ((size_t)r < t->rows ? (size_t)r : t->rows - 1) * t->a_row;
    VEC_HIDE(row[r]);
  }
  VEC_FOR(p, (vectors + 1) / 2) {
    b[p] = t->b + (size_t)p * t->b_panel;
    VEC_HIDE(b[p]);
  }
  tile_start(rows, vectors, t, sums);
  for (size_t blocks = t->blocks; blocks > 0; blocks--) {
    i32v dots[8];
    block_dots(form, bits, rows, vectors, t->steps, row, b, dots, more);
    add_block(rows, vectors, t->has_offsets, dots, row, b, sums);
  }
  tile_end(rows, vectors, t, sums);
}

/* Tiles of rows x vectors of columns. */
#define TILE(name, form, bits, rows, vectors)                                                      \
  static void tile_##name##_##rows##x##vectors(const tile_args *t) {                               \
    tile(form, bits, rows, vectors, t);                                                            \
  }
#define TILES(name, form, bits)                                                                    \
  TILE(name, form, bits, 1, 2)                                                                     \
  TILE(name, form, bits, 1, 8)                                                                     \
  TILE(name, form, bits, 2, 2)                                                                     \
  TILE(name, form, bits, 4, 2)                                                                     \
  static const tiles tiles_##name = {tile_##name##_1x2, tile_##name##_1x8, tile_##name##_2x2,      \
                                     tile_##name##_4x2};

typedef struct tiles {
  void (*one)(const tile_args *), (*one_wide)(const tile_args *), (*two)(const tile_args *),
      (*four)(const tile_args *);
} tiles;

TILES(2, WEFT_DOT_FORM, 2)
TILES(4, WEFT_DOT_FORM, 4)
TILES(8, WEFT_DOT_FORM == DOT_WHOLE ? DOT_WHOLE : DOT_WORDS, 8)
#ifdef WEFT_TARGET_RELAXED_DOT
TILES(8_words, DOT_WORDS, 8)
#endif

static const tiles *tiles_for(uint32_t bits) {
#ifdef WEFT_TARGET_RELAXED_DOT
  if (bits == 8 && codes_form(bits) == DOT_WORDS) return &tiles_8_words;
#endif
  return bits == 2 ? &tiles_2 : bits == 4 ? &tiles_4 : &tiles_8;
}

void WEFT_KERNEL_NAME(gemm_codes)(const weft_gemm_codes_args *args) {
  weft_code_format format = args->format;
  const tiles *f = tiles_for(format.bits);
  tile_args t = {.blocks = codes_blocks(format, args->k),
                 .steps = format.block / CODES_STEP,
                 .has_offsets = format.has_offsets,
                 .accumulate = args->accumulate,
                 .a = args->a,
                 .a_row = WEFT_KERNEL_NAME(codes_row_bytes)(format, args->k),
                 .rows = args->m,
                 .b = args->b,
                 .b_panel = args->b_panel,
                 .c = args->c,
                 .ldc = args->ldc};
  for (size_t done = 0, width; done < args->n; done += width) {
    size_t left = args->n - done;
    bool wide = args->m == 1 && left > 3 * CODES_COLUMNS;
    width = wide ? 4 * CODES_COLUMNS : CODES_COLUMNS;
    t.n = left < width ? left : width;
    (wide ? f->one_wide : args->m == 1 ? f->one : args->m == 2 ? f->two : f->four)(&t);
    t.b += width / CODES_COLUMNS * t.b_panel;
    t.c += width;
  }
}
