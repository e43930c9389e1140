/* reduce_plain.c - reductions of 64-bit integers and doubles (see convert.h) in plain C, an output
 * element at a time. */
#include "cpu/reduce.h"

/* Folds count elements from x on. Arithmetic is done in `wide`: unsigned for integers, so that they
 * wrap. */
#define FOLD(name, type, wide)                                                                     \
  static type name(const weft_reduction *r, const type *x, type folded) {                          \
    const weft_nest *nest = &r->reduced;                                                           \
    uint64_t n = (uint64_t)nest->dims[nest->rank - 1];                                             \
    int64_t stride = nest->strides[0][nest->rank - 1];                                             \
    for (uint64_t done = 0; done < r->count; done += n) {                                          \
      int64_t offset[WEFT_NEST_ARRAYS];                                                            \
      weft_nest_locate(nest, done, offset, NULL);                                                  \
      const type *at = x + offset[0];                                                              \
      for (uint64_t i = 0; i < n; i++, at += stride) {                                             \
        type v = *at;                                                                              \
        wide sum = (wide)folded, w = (wide)v;                                                      \
        switch (r->kind) {                                                                         \
        case WEFT_REDUCE_MAX:                                                                      \
          folded = v > folded || v != v ? v : folded;                                              \
          break;                                                                                   \
        case WEFT_REDUCE_MIN:                                                                      \
          folded = v < folded || v != v ? v : folded;                                              \
          break;                                                                                   \
        case WEFT_REDUCE_PROD:                                                                     \
          folded = (type)(sum * w);                                                                \
          break;                                                                                   \
        case WEFT_REDUCE_SUM_SQUARE:                                                               \
        case WEFT_REDUCE_L2:                                                                       \
          folded = (type)(sum + w * w);                                                            \
          break;                                                                                   \
        case WEFT_REDUCE_L1:                                                                       \
          folded = (type)(v > 0 ? sum + w : sum - w);                                              \
          break;                                                                                   \
        default:                                                                                   \
          folded = (type)(sum + w);                                                                \
        }                                                                                          \
      }                                                                                            \
    }                                                                                              \
    return folded;                                                                                 \
  }
FOLD(fold_i64, int64_t, uint64_t)
FOLD(fold_u64, uint64_t, uint64_t)
FOLD(fold_f64, double, double)

static const void *element(const weft_reduction_run *run, uint64_t item) {
  int64_t offset[WEFT_NEST_ARRAYS];
  weft_nest_locate(&run->reduction->kept, item, offset, NULL);
  return run->x + offset[0] * 8;
}

static weft_status reduce_i64(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)scratch, (void)error;
  const weft_reduction_run *run = context;
  const weft_reduction *r = run->reduction;
  int64_t start = r->kind == WEFT_REDUCE_PROD, *y = (int64_t *)(void *)run->y;
  if (r->kind == WEFT_REDUCE_MAX) start = r->low;
  if (r->kind == WEFT_REDUCE_MIN) start = (int64_t)r->high;
  for (uint64_t item = begin; item < end; item++) {
    y[item] = fold_i64(r, element(run, item), start);
    if (r->kind == WEFT_REDUCE_MEAN && r->count > 0) y[item] /= (int64_t)r->count;
  }
  return WEFT_OK;
}

static weft_status reduce_u64(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)scratch, (void)error;
  const weft_reduction_run *run = context;
  const weft_reduction *r = run->reduction;
  uint64_t start = r->kind == WEFT_REDUCE_PROD, *y = (uint64_t *)(void *)run->y;
  if (r->kind == WEFT_REDUCE_MIN) start = r->high;
  for (uint64_t item = begin; item < end; item++) {
    y[item] = fold_u64(r, element(run, item), start);
    if (r->kind == WEFT_REDUCE_MEAN && r->count > 0) y[item] /= r->count;
  }
  return WEFT_OK;
}

static weft_status reduce_f64(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)scratch, (void)error;
  const weft_reduction_run *run = context;
  const weft_reduction *r = run->reduction;
  double start = r->kind == WEFT_REDUCE_PROD, *y = (double *)(void *)run->y;
  if (r->kind == WEFT_REDUCE_MAX) start = -__builtin_inf();
  if (r->kind == WEFT_REDUCE_MIN) start = __builtin_inf();
  for (uint64_t item = begin; item < end; item++) {
    y[item] = fold_f64(r, element(run, item), start);
    if (r->kind == WEFT_REDUCE_MEAN) y[item] /= (double)r->count;
    if (r->kind == WEFT_REDUCE_L2) y[item] = __builtin_sqrt(y[item]);
  }
  return WEFT_OK;
}

weft_work_fn *weft_reduce_plain(const weft_reduction *reduction) {
  weft_reduce_kind kind = reduction->kind;
  if (kind == WEFT_REDUCE_LOG_SUM || kind == WEFT_REDUCE_LOG_SUM_EXP) return NULL;
  if (reduction->input.held == WEFT_CLASS_F64) return reduce_f64;
  if (kind == WEFT_REDUCE_L2) return NULL; /* of integers */
  return reduction->input.held == WEFT_CLASS_I64 ? reduce_i64 : reduce_u64;
}
