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

/* acc[row][v] += `count` steps of row x b[v]; row and b move on. */
VEC_INLINE void add_steps(dot_form form, int bits, int rows, int vectors, size_t count,
                          const char **row, const char **b, i32v *acc) {
  const int planes = (form == DOT_WORDS ? 16 : 8) / bits;
  VEC_LOOP for (; count > 0; count--) {
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
        VEC_FOR(j, rows * vectors) VEC_PIN(acc[j]);
        VEC_CUT(count, i * planes + p, done);
      }
    }
    VEC_FOR(r, rows) {
      row[r] += codes_row_step(form);
      VEC_HIDE(row[r]);
    }
    VEC_FOR(p, vectors / 2) {
      b[p] += bits * CODES_VECTOR;
      VEC_HIDE(b[p]);
    }
  }
done:;
}

/* The same in short form, of 8 bits: `groups` are added up in 16 bits, two or the whole step. The
 * zero's part is in there from the start: intermediate sums may wrap, the last cannot. */
VEC_INLINE void add_short_steps(int groups, int rows, int vectors, size_t count, const char **row,
                                const char **b, i32v *acc) {
  VEC_LOOP for (; count > 0; count--) {
    VEC_FOR(part, 4 / groups) {
      i16v sums[8];
      VEC_FOR(r, rows) {
        i16v start = (i16v)i8v_load_splat(row[r] + (groups == 4 ? 0 : 1 + part) * CODES_START);
        VEC_FOR(v, vectors) sums[r * vectors + v] = start;
      }
      VEC_FOR(group, groups) {
        int at = part * groups + group;
        i8v a[4];
        VEC_FOR(r, rows) a[r] = i8v_load_splat(row[r] + CODES_STARTS + at * 4);
        VEC_FOR(v, vectors) {
          i8v w = i8v_load(b[v / 2] + (v % 2 * 4 + at) * CODES_VECTOR);
          VEC_FOR(r, rows) sums[r * vectors + v] += i16v_dot_i8(a[r], w);
        }
      }
      VEC_FOR(i, rows * vectors) {
        acc[i] += i32v_of_pairs(sums[i]);
        VEC_PIN(acc[i]);
      }
      VEC_CUT(count, part, done);
    }
    VEC_FOR(r, rows) {
      row[r] += CODES_STEP + CODES_STARTS;
      VEC_HIDE(row[r]);
    }
    VEC_FOR(p, vectors / 2) {
      b[p] += 8 * CODES_VECTOR;
      VEC_HIDE(b[p]);
    }
  }
done:;
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* What a tile multiplies. Rows and panels that are not there repeat the last that is. */
typedef struct tile_args {
  size_t blocks, steps; /* in k, in a block */
  bool has_offsets;
  size_t c_row; /* floats between the rows of sums */
  const char *a, *b;
  size_t a_row, b_panel, b_block; /* bytes from one to the next */
  size_t rows, panels;            /* that are there */
} tile_args;

/* The dot products of a block, of `rows` rows and `vectors` vectors of columns, and the start that
 * the zero makes; row and b move on to what is behind the codes. `more` is for blocks of several
 * chunks, each as many steps as 16 bits hold. `flag`: where a block of a panel in short form says
 * that 16 bits hold its steps. */
VEC_INLINE void block_dots(dot_form form, int bits, int rows, int vectors, size_t steps,
                           size_t flag, const char **row, const char **b, i32v *acc, i32v *more) {
  const size_t at_once = codes_steps_at_once(form, (uint32_t)bits);
  const bool several = form == DOT_PAIRS && steps > at_once;
  if (form == DOT_SHORT) {
    bool whole = true;
    VEC_FOR(p, vectors / 2) whole &= b[p][flag] != 0;
    VEC_FOR(i, rows * vectors) acc[i] = i32v_splat(0);
    if (whole)
      add_short_steps(4, rows, vectors, steps, row, b, acc);
    else
      add_short_steps(2, rows, vectors, steps, row, b, acc);
    return;
  }
  VEC_FOR(r, rows) {
    i32v start = (i32v)i8v_load_splat(row[r]), zero = i32v_splat(0);
    VEC_FOR(v, vectors) {
      if (several) more[r * vectors + v] = start;
      acc[r * vectors + v] = several ? zero : start;
    }
    row[r] += CODES_START;
  }
  size_t left = steps;
  do {
    if (several && left < steps) VEC_FOR(i, rows * vectors) {
        more[i] += i32v_of_pairs((i16v)acc[i]);
        acc[i] = i32v_splat(0);
      }
    size_t now = left < at_once ? left : at_once;
    add_steps(form, bits, rows, vectors, now, row, b, acc);
    left -= now;
  } while (form == DOT_PAIRS && left > 0);
  if (form != DOT_PAIRS) return;
  VEC_FOR(i, rows * vectors) {
    acc[i] = i32v_of_pairs((i16v)acc[i]);
    if (several) acc[i] += more[i];
  }
}

VEC_INLINE const float *scales_at(const char *const *b, int v) {
  return (const float *)(const void *)b[v / 2] + v % 2 * WEFT_LANES;
}

/* Adds what a block makes to `sums`, and moves on to the next block. */
VEC_INLINE void add_block(dot_form form, int rows, int vectors, bool has_offsets, const i32v *dots,
                          const char **row, const char **b, float *sums, size_t c_row) {
  f32v scales[8];
  VEC_FOR(v, vectors) scales[v] = f32v_load(scales_at((const char *const *)b, v));
  VEC_FOR(r, rows) {
    const float *end = (const float *)(const void *)row[r];
    f32v scale = f32v_load_splat(end);
    VEC_FOR(v, vectors) {
      float *to = sums + (size_t)r * c_row + v * WEFT_LANES;
      f32v sum = f32v_load(to);
      sum = f32v_fma(f32v_from_i32(dots[r * vectors + v]), scale * scales[v], sum);
      if (has_offsets)
        sum = f32v_fma(f32v_load_splat(end + 1),
                       f32v_load(scales_at((const char *const *)b, v) + CODES_COLUMNS), sum);
      f32v_store(to, sum);
    }
    row[r] += CODES_END;
  }
  VEC_FOR(p, vectors / 2)
  b[p] += codes_panel_end(form, has_offsets);
}

/* sums[row][v] += the product. The sums lie in memory, which costs a load and a store per block:
 * with the accumulators they would be twice the registers that there are. */
VEC_INLINE void tile(dot_form form, int bits, int rows, int vectors, const tile_args *t,
                     float *restrict sums) {
  i32v more_memory[8], *more = more_memory;
  const char *row[4], *b[4];
  const size_t steps = t->steps;
  const bool has_offsets = t->has_offsets;
  const size_t c_row = t->c_row, flag = t->b_block - CODES_VECTOR;
  VEC_HIDE(more);
  VEC_FOR(r, rows) {
    row[r] = t->a + ((size_t)r < t->rows ? (size_t)r : t->rows - 1) * t->a_row;
    VEC_HIDE(row[r]);
  }
  VEC_FOR(p, vectors / 2) {
    b[p] = t->b + ((size_t)p < t->panels ? (size_t)p : t->panels - 1) * t->b_panel;
    VEC_HIDE(b[p]);
  }
  for (size_t blocks = t->blocks; blocks > 0; blocks--) {
    i32v dots[8];
    block_dots(form, bits, rows, vectors, steps, flag, row, b, dots, more);
    add_block(form, rows, vectors, has_offsets, dots, row, b, sums, c_row);
  }
}

typedef void tile_fn(const tile_args *t, float *sums);
typedef struct tiles { /* rows x vectors of columns */
  tile_fn *one, *two, *four;
} tiles;

#define TILE(name, form, bits, rows, vectors)                                                      \
  static void tile_##name##_##rows(const tile_args *t, float *sums) {                              \
    tile(form, bits, rows, vectors, t, sums);                                                      \
  }
#define TILES(name, form, bits)                                                                    \
  TILE(name, form, bits, 1, 8)                                                                     \
  TILE(name, form, bits, 2, 2)                                                                     \
  TILE(name, form, bits, 4, 2)                                                                     \
  static const tiles tiles_##name = {tile_##name##_1, tile_##name##_2, tile_##name##_4};

TILES(2, WEFT_DOT_FORM, 2)
TILES(4, WEFT_DOT_FORM, 4)
TILES(8, WEFT_DOT_FORM == DOT_WHOLE ? DOT_WHOLE : DOT_WORDS, 8)
#ifdef WEFT_TARGET_RELAXED_DOT
TILES(8_words, DOT_WORDS, 8)
#endif
/* Of more rows each by itself, if there are so many columns: weights are cheaper to load than
 * numbers of a row to repeat. */
TILE(8_short, DOT_SHORT, 8, 1, 8)
TILE(8_short, DOT_SHORT, 8, 2, 2)
static const tiles tiles_8_short = {tile_8_short_1, tile_8_short_2, NULL};

static const tiles *tiles_for(weft_code_format format) {
#ifdef WEFT_TARGET_RELAXED_DOT
  if (format.bits == 8 && codes_form(format) == DOT_WORDS) return &tiles_8_words;
#endif
  if (codes_form(format) == DOT_SHORT) return &tiles_8_short;
  return format.bits == 2 ? &tiles_2 : format.bits == 4 ? &tiles_4 : &tiles_8;
}

/* ---- the product ----------------------------------------------------------------------------- */

static void copy_rows(size_t m, size_t n, const float *from, size_t from_stride, float *to,
                      size_t to_stride) {
  for (; m > 0; m--, from += from_stride, to += to_stride)
    VEC_EACH(j, left, n, f32v_store_upto(to + j, f32v_load_upto(from + j, left), left));
}

static void clear_rows(size_t m, size_t n, float *c, size_t stride) {
  for (; m > 0; m--, c += stride)
    for (size_t j = 0; j < n; j += WEFT_LANES) f32v_store(c + j, f32v_splat(0));
}

/* One tile of `rows` rows, of which t->rows are there, and `width` columns, of which n are there.
 */
static void run_tile(tile_fn *run, tile_args *t, size_t rows, size_t width, size_t n,
                     bool accumulate, float *c, size_t ldc) {
  _Alignas(64) float sums[4 * CODES_COLUMNS];
  bool direct = t->rows == rows && n == width;
  float *to = direct ? c : sums;
  t->c_row = direct ? ldc : width;
  t->panels = (n + CODES_COLUMNS - 1) / CODES_COLUMNS;
  if (!accumulate || !direct) clear_rows(rows, width, to, t->c_row);
  if (accumulate && !direct) copy_rows(t->rows, n, c, ldc, sums, width);
  run(t, to);
  if (!direct) copy_rows(t->rows, n, sums, width, c, ldc);
}

void WEFT_KERNEL_NAME(gemm_codes)(const weft_gemm_codes_args *args) {
  weft_code_format format = args->format;
  const tiles *f = tiles_for(format);
  tile_args t = {.blocks = codes_blocks(format, args->k),
                 .steps = format.block / CODES_STEP,
                 .has_offsets = format.has_offsets,
                 .a_row = WEFT_KERNEL_NAME(codes_row_bytes)(format, args->k),
                 .b_panel = args->b_panel,
                 .b_block = codes_panel_block(format)};
  for (size_t done = 0, width, n; done < args->n; done += width) {
    size_t left = args->n - done;
    bool single = args->m == 1 || (f->four == NULL && left > 2 * CODES_COLUMNS);
    size_t rows = single ? 1 : args->m == 2 || f->four == NULL ? 2 : 4;
    tile_fn *run = single ? f->one : rows == 2 ? f->two : f->four;
    width = (single ? 4 : 1) * CODES_COLUMNS;
    n = left < width ? left : width;
    t.b = (const char *)args->b + done / CODES_COLUMNS * t.b_panel;
    for (size_t row = 0; row < args->m; row += rows) {
      t.a = (const char *)args->a + row * t.a_row;
      t.rows = args->m - row < rows ? args->m - row : rows;
      run_tile(run, &t, rows, width, n, args->accumulate, args->c + row * args->ldc + done,
               args->ldc);
    }
  }
}
