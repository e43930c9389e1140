/* reduce.c - the op `reduce`. The input's dimensions are parted into those that stay and those that
 * are folded; then f32 is done either along dense rows (the last dimension is folded) or
 * column-wise, a row added to a row of accumulators (it stays). */
#include "cpu/reduce.h"

#define COLUMNS 512 /* accumulators of an item */

/* ---- along rows ----------------------------------------------------------------------------- */

/* Elements -> what is summed, in pieces that fit `scratch` (COLUMNS floats). */
static double sum_mapped(const weft_reduction *r, size_t n, const float *x, float shift,
                         float *scratch) {
  double sum = 0;
  for (size_t done = 0, part; done < n; done += part) {
    part = n - done < COLUMNS ? n - done : COLUMNS;
    if (r->kind == WEFT_REDUCE_L1) {
      r->kernels->abs_f32(part, x + done, scratch);
    } else {
      for (size_t i = 0; i < part; i++) scratch[i] = x[done + i] - shift;
      r->kernels->exp_f32(part, scratch, scratch);
    }
    sum += (double)r->kernels->sum_f32(part, scratch);
  }
  return sum;
}

static double fold_row(const weft_reduction *r, weft_reduce_kind kind, double value, size_t n,
                       const float *x, float shift, float *scratch) {
  const weft_kernels *kernels = r->kernels;
  float found;
  switch (kind) {
  case WEFT_REDUCE_MAX:
    found = kernels->maximum_f32(n, x);
    return (double)found > value || found != found ? (double)found : value;
  case WEFT_REDUCE_MIN:
    found = kernels->minimum_f32(n, x);
    return (double)found < value || found != found ? (double)found : value;
  case WEFT_REDUCE_PROD:
    for (size_t i = 0; i < n; i++) value *= (double)x[i];
    return value;
  case WEFT_REDUCE_SUM_SQUARE:
  case WEFT_REDUCE_L2:
    return value + (double)kernels->sum_square_f32(n, x);
  case WEFT_REDUCE_L1:
  case WEFT_REDUCE_LOG_SUM_EXP:
    return value + sum_mapped(r, n, x, shift, scratch);
  default:
    return value + (double)kernels->sum_f32(n, x);
  }
}

static double identity_of(weft_reduce_kind kind) {
  if (kind == WEFT_REDUCE_MAX) return -__builtin_inf();
  if (kind == WEFT_REDUCE_MIN) return __builtin_inf();
  return kind == WEFT_REDUCE_PROD ? 1 : 0;
}

static double fold_rows(const weft_reduction *r, weft_reduce_kind kind, const float *x, float shift,
                        float *scratch) {
  const weft_nest *nest = &r->reduced;
  uint64_t n = (uint64_t)nest->dims[nest->rank - 1];
  double value = identity_of(kind);
  for (uint64_t done = 0; done < r->count; done += n) {
    int64_t offset[WEFT_NEST_ARRAYS];
    weft_nest_locate(nest, done, offset, NULL);
    value = fold_row(r, kind, value, (size_t)n, x + offset[0], shift, scratch);
    if (value != value) break; /* NaN stays */
  }
  return value;
}

/* The folded value -> the result, `n` at once. */
static void finish(const weft_reduction *r, size_t n, float *y, const float *shifts) {
  if (r->kind == WEFT_REDUCE_MEAN)
    for (size_t i = 0; i < n; i++) y[i] /= (float)r->count;
  if (r->kind == WEFT_REDUCE_L2) r->kernels->sqrt_f32(n, y, y);
  if (r->kind == WEFT_REDUCE_LOG_SUM || r->kind == WEFT_REDUCE_LOG_SUM_EXP)
    r->kernels->log_f32(n, y, y);
  if (r->kind == WEFT_REDUCE_LOG_SUM_EXP) r->kernels->add_f32(n, y, shifts, y);
}

/* exp(x - shift) with the largest x for shift cannot overflow; an infinite one would give NaN. */
static float shift_of(float maximum) {
  return __builtin_fabsf(maximum) == __builtin_inff() ? 0.0f : maximum;
}

static weft_status reduce_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                               weft_error *error) {
  (void)error;
  const weft_reduction_run *run = context;
  const weft_reduction *r = run->reduction;
  float *tile = (float *)(void *)scratch, *y = (float *)(void *)run->y;
  for (uint64_t item = begin; item < end; item++) {
    int64_t offset[WEFT_NEST_ARRAYS];
    weft_nest_locate(&r->kept, item, offset, NULL);
    const float *x = (const float *)(const void *)run->x + offset[0];
    float shift = 0;
    if (r->kind == WEFT_REDUCE_LOG_SUM_EXP)
      shift = shift_of((float)fold_rows(r, WEFT_REDUCE_MAX, x, 0, tile));
    y[item] = (float)fold_rows(r, r->kind, x, shift, tile);
    finish(r, 1, y + item, &shift);
  }
  return WEFT_OK;
}

/* ---- column-wise ---------------------------------------------------------------------------- */

/* Folds one row into the accumulators; `mapped` has room for n floats. */
static void fold_columns(const weft_reduction *r, weft_reduce_kind kind, size_t n, const float *x,
                         const float *shifts, float *mapped, float *y) {
  const weft_kernels *kernels = r->kernels;
  switch (kind) {
  case WEFT_REDUCE_MAX:
    kernels->max_f32(n, y, x, y);
    return;
  case WEFT_REDUCE_MIN:
    kernels->min_f32(n, y, x, y);
    return;
  case WEFT_REDUCE_PROD:
    kernels->mul_f32(n, y, x, y);
    return;
  case WEFT_REDUCE_L1:
    kernels->abs_f32(n, x, mapped);
    break;
  case WEFT_REDUCE_SUM_SQUARE:
  case WEFT_REDUCE_L2:
    kernels->mul_f32(n, x, x, mapped);
    break;
  case WEFT_REDUCE_LOG_SUM_EXP:
    kernels->sub_f32(n, x, shifts, mapped);
    kernels->exp_f32(n, mapped, mapped);
    break;
  default:
    kernels->add_f32(n, y, x, y);
    return;
  }
  kernels->add_f32(n, y, mapped, y);
}

static void fold_all_columns(const weft_reduction *r, weft_reduce_kind kind, size_t n,
                             const float *x, const float *shifts, float *mapped, float *y) {
  for (size_t i = 0; i < n; i++) y[i] = (float)identity_of(kind);
  for (uint64_t row = 0; row < r->count; row++) {
    int64_t offset[WEFT_NEST_ARRAYS];
    weft_nest_locate(&r->reduced, row, offset, NULL);
    fold_columns(r, kind, n, x + offset[0], shifts, mapped, y);
  }
}

static weft_status reduce_columns(const void *context, uint64_t begin, uint64_t end,
                                  uint8_t *scratch, weft_error *error) {
  (void)error;
  const weft_reduction_run *run = context;
  const weft_reduction *r = run->reduction;
  float *shifts = (float *)(void *)scratch, *mapped = shifts + COLUMNS;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t column = item % r->column_groups * COLUMNS;
    uint64_t at = item / r->column_groups * r->columns + column;
    size_t n = (size_t)weft_min_u64(COLUMNS, r->columns - column);
    int64_t offset[WEFT_NEST_ARRAYS];
    weft_nest_locate(&r->kept, at, offset, NULL);
    const float *x = (const float *)(const void *)run->x + offset[0];
    float *y = (float *)(void *)run->y + at;
    if (r->kind == WEFT_REDUCE_LOG_SUM_EXP) {
      fold_all_columns(r, WEFT_REDUCE_MAX, n, x, NULL, mapped, shifts);
      for (size_t i = 0; i < n; i++) shifts[i] = shift_of(shifts[i]);
    }
    fold_all_columns(r, r->kind, n, x, shifts, mapped, y);
    finish(r, n, y, shifts);
  }
  return WEFT_OK;
}

/* ---- preparation ---------------------------------------------------------------------------- */

static weft_status run_reduce(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  const weft_reduction *r = step->state;
  weft_reduction_run run = {.reduction = r,
                            .x = weft_operand_data(&r->input, step, execution),
                            .y = weft_result_data(&r->result, step, execution)};
  WEFT_TRY(weft_work_run(&r->work, step, execution, &run, error));
  weft_result_finish(&r->result, step, execution);
  return WEFT_OK;
}

/* Which axes are folded, from the attribute or the host parameter. */
static void mark_axes(const weft_step *step, bool *folded) {
  const weft_axes *axes = &step->node->attributes.reduce.axes;
  const weft_array *x = step->inputs[0], *host = weft_step_input(step, 1);
  uint64_t count = host != NULL ? host->elements : axes->count;
  bool all = count == 0 && !step->node->attributes.reduce.none_means_none;
  for (int32_t i = 0; i < x->rank; i++) folded[i] = all;
  for (uint64_t i = 0; i < count; i++)
    folded[weft_axis(host != NULL ? weft_host_integer(host, i) : axes->axes[i], x->rank)] = true;
}

/* The dimensions with folded == which, of the dense input. */
static void select_dims(weft_nest *nest, const weft_array *x, const bool *folded, bool which) {
  int64_t dims[WEFT_RANK_MAX], strides[WEFT_RANK_MAX], stride = 1;
  int32_t rank = 0, from = WEFT_RANK_MAX;
  for (int32_t i = x->rank - 1; i >= 0; stride *= x->dims[i--]) {
    if (folded[i] != which) continue;
    dims[--from] = x->dims[i];
    strides[from] = stride;
    rank++;
  }
  weft_nest_init(nest, rank, dims + from);
  weft_nest_add(nest, rank, dims + from, strides + from);
  weft_nest_collapse(nest);
}

static void set_bounds(weft_reduction *r, weft_dtype dtype) {
  unsigned bits = weft_dtype_bits(dtype);
  bool is_signed = weft_class_of(dtype) == WEFT_CLASS_I64;
  r->low = is_signed ? (int64_t)(UINT64_MAX << (bits - 1)) : 0;
  r->high = UINT64_MAX >> (64 - bits + is_signed);
}

static weft_status prepare_work(weft_reduction *r, const weft_cpu *cpu, weft_step *step,
                                weft_error *error) {
  uint64_t outputs = step->outputs[0]->elements;
  double cost = 0.3 * (double)r->count + 20.0;
  if (r->input.held != WEFT_CLASS_F32) {
    weft_work_fn *plain = weft_reduce_plain(r);
    if (plain == NULL)
      return weft_fail(error, WEFT_UNSUPPORTED, "this reduction is not supported on %s",
                       weft_dtype_name(r->input.array->dtype));
    weft_work_prepare(&r->work, cpu, step, plain, outputs, 4 * cost, 0);
    step->kernel = "reduce-plain";
  } else if (r->reduced.strides[0][r->reduced.rank - 1] == 1) {
    weft_work_prepare(&r->work, cpu, step, reduce_rows, outputs, cost, COLUMNS * sizeof(float));
    step->kernel = "reduce-rows";
  } else {
    r->columns = (uint64_t)r->kept.dims[r->kept.rank - 1];
    r->column_groups = (r->columns + COLUMNS - 1) / COLUMNS;
    weft_work_prepare(&r->work, cpu, step, reduce_columns, outputs / r->columns * r->column_groups,
                      cost * (double)weft_min_u64(COLUMNS, r->columns),
                      2 * COLUMNS * sizeof(float));
    step->kernel = "reduce-columns";
  }
  return WEFT_OK;
}

weft_status weft_cpu_prepare_reduce(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  weft_reduction *r = WEFT_ARENA_NEW(arena, weft_reduction);
  if (r == NULL) return weft_arena_fail(arena, "a reduction", error);
  bool folded[WEFT_RANK_MAX];
  const weft_array *x = step->inputs[0];
  mark_axes(step, folded);
  r->kernels = cpu->kernels;
  r->kind = step->node->attributes.reduce.kind;
  WEFT_TRY(weft_operand_prepare(&r->input, cpu, step, x, 0, NULL, error));
  WEFT_TRY(weft_result_prepare(&r->result, cpu, step, error));
  select_dims(&r->kept, x, folded, false);
  select_dims(&r->reduced, x, folded, true);
  r->count = weft_extent(r->reduced.dims, 0, r->reduced.rank);
  set_bounds(r, x->dtype);
  WEFT_TRY(prepare_work(r, cpu, step, error));
  step->state = r;
  step->run = run_reduce;
  return WEFT_OK;
}
