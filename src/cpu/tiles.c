/* tiles.c - runs a program tile by tile: brings each source to where the operations can read it,
 * then calls them one after the other while the tile is in the L1 cache. */
#include "cpu/operation.h"

/* Where a range stands in the nest: column in the innermost row, and each source's offset of that
 * row (in elements). */
typedef struct place {
  uint64_t linear, column, inner;
  int64_t index[WEFT_RANK_MAX];
  int64_t rows[WEFT_NEST_ARRAYS];
} place;

static void splat(size_t size, const uint8_t *from, size_t count, uint8_t *to) {
  weft_copy_strided(size, from, 0, count, to);
}

static void fill_constant(const weft_instruction *code, size_t count, uint8_t *to) {
  weft_class held = weft_class_of((weft_dtype)code->dtype);
  float single = (float)code->immediate.f;
  uint8_t truth = code->immediate.i != 0;
  const void *from = &code->immediate;
  if (held == WEFT_CLASS_F32) from = &single;
  if (held == WEFT_CLASS_BOOL) from = &truth;
  splat(weft_class_size(held), from, count, to);
}

/* Fills a source's register with one element. */
static void fill_source(weft_tiles *tiles, uint32_t input, const uint8_t *from, size_t count) {
  const weft_source_form *source = &tiles->program->sources[input];
  if (tiles->splatted[input] == from) return;
  tiles->splatted[input] = from;
  uint64_t element; /* room for the widest */
  if (source->load != NULL) {
    source->load(1, from, &element);
    from = (const uint8_t *)&element;
  }
  splat(source->held_size, from, count, tiles->at[input]);
}

void weft_tiles_init(weft_tiles *tiles, const weft_program *program, const uint8_t *const *sources,
                     uint8_t *scratch) {
  tiles->program = program;
  tiles->staging = scratch + (size_t)program->slot_count * program->slot_bytes;
  for (uint32_t i = 0; i < program->operand_count; i++)
    tiles->at[i] =
        program->slots[i] < 0 ? NULL : scratch + (size_t)program->slots[i] * program->slot_bytes;
  for (uint32_t i = 0; i < program->input_count; i++) {
    tiles->sources[i] = sources[i];
    tiles->splatted[i] = NULL;
    if (program->sources[i].used && program->sources[i].kind == WEFT_SOURCE_SCALAR)
      fill_source(tiles, i, sources[i], program->tile);
  }
  for (uint32_t i = program->input_count; i < program->operand_count; i++) {
    const weft_instruction *code = &program->expr->code[i - program->input_count];
    if (code->op == WEFT_EXPR_CONSTANT) fill_constant(code, program->tile, tiles->at[i]);
  }
}

/* Makes `n` dense stored elements the source's tile: in place where they are held as stored. */
static void use(weft_tiles *tiles, uint32_t input, const uint8_t *from, size_t n) {
  const weft_source_form *source = &tiles->program->sources[input];
  if (source->load == NULL) {
    tiles->at[input] = (uint8_t *)(uintptr_t)from;
    return;
  }
  source->load(n, from, tiles->at[input]);
}

static void load_rows(weft_tiles *tiles, uint32_t input, const place *at, size_t n) {
  const weft_program *program = tiles->program;
  const weft_source_form *source = &program->sources[input];
  uint8_t *gathered = source->load != NULL ? tiles->staging : tiles->at[input];
  if (!program->by_rows) {
    weft_nest_gather(&program->nest, input, source->size, tiles->sources[input], at->linear, n,
                     gathered);
    use(tiles, input, gathered, n);
    return;
  }
  int64_t offset = at->rows[input] + (int64_t)at->column * source->stride;
  const uint8_t *from = tiles->sources[input] + offset * (int64_t)source->size;
  if (source->stride == 1) {
    use(tiles, input, from, n);
  } else if (source->stride == 0) {
    fill_source(tiles, input, from, (size_t)weft_min_u64(at->inner, WEFT_TILE));
  } else {
    weft_copy_strided(source->size, from, source->stride, n, gathered);
    use(tiles, input, gathered, n);
  }
}

static void load_sources(weft_tiles *tiles, const place *at, const uint8_t *block, size_t n) {
  for (uint32_t i = 0; i < tiles->program->input_count; i++) {
    const weft_source_form *source = &tiles->program->sources[i];
    if (!source->used) continue;
    if (source->kind == WEFT_SOURCE_BLOCK)
      tiles->at[i] = (uint8_t *)(uintptr_t)block;
    else if (source->kind == WEFT_SOURCE_LINEAR)
      use(tiles, i, tiles->sources[i] + at->linear * source->size, n);
    else if (source->kind == WEFT_SOURCE_ROWS)
      load_rows(tiles, i, at, n);
  }
}

static void round_through(const weft_operation *operation, size_t n, const void *x, void *y) {
  uint16_t narrow[WEFT_TILE];
  operation->call.convert(n, x, narrow);
  operation->back(n, narrow, y);
}

static bool run_operation(const weft_operation *operation, size_t n, uint8_t *const *at) {
  const void *x[3] = {at[operation->x[0]], at[operation->x[1]], at[operation->x[2]]};
  void *y = at[operation->y];
  switch (operation->form) {
  case WEFT_FORM_UNARY:
    operation->call.unary(n, x[0], y);
    break;
  case WEFT_FORM_BINARY:
    operation->call.binary(n, x[0], x[1], y);
    break;
  case WEFT_FORM_COMPARE:
    operation->call.compare(n, x[0], x[1], y);
    break;
  case WEFT_FORM_SELECT:
    operation->call.select(n, x[0], x[1], x[2], y);
    break;
  case WEFT_FORM_CONVERT:
    operation->call.convert(n, x[0], y);
    break;
  case WEFT_FORM_MOVE:
    memmove(y, x[0], n * operation->size);
    break;
  case WEFT_FORM_ROUND:
    round_through(operation, n, x[0], y);
    break;
  default:
    return operation->call.loop(n, x, y, &operation->range);
  }
  return true;
}

static weft_status fail_division(weft_error *error) {
  return weft_fail(error, WEFT_INVALID_DATA, "integer division by zero");
}

weft_status weft_program_run_plain(const weft_program *program, const uint8_t *const *sources,
                                   uint64_t start, uint64_t count, uint8_t *y, weft_error *error) {
  uint8_t *at[WEFT_EXPR_INPUTS_MAX + 1];
  for (uint32_t i = 0; i < program->input_count; i++)
    at[i] = (uint8_t *)(uintptr_t)sources[i] + start * program->sources[i].size;
  at[program->result] = y;
  return run_operation(program->operations, (size_t)count, at) ? WEFT_OK : fail_division(error);
}

static weft_status run_tile(weft_tiles *tiles, const place *at, const uint8_t *block, size_t n,
                            uint8_t *y, weft_error *error) {
  const weft_program *program = tiles->program;
  load_sources(tiles, at, block, n);
  if (program->direct) tiles->at[program->result] = y;
  for (uint32_t i = 0; i < program->operation_count; i++)
    if (!run_operation(&program->operations[i], n, tiles->at)) return fail_division(error);
  const uint8_t *result = tiles->at[program->result];
  if (program->store != NULL)
    program->store(n, result, y);
  else if (result != y)
    memcpy(y, result, n * program->result_size);
  return WEFT_OK;
}

/* After the last column of a row. */
static void next_row(const weft_nest *nest, place *at) {
  at->column = 0;
  for (int32_t i = nest->rank - 2; i >= 0; i--) {
    bool wraps = ++at->index[i] == nest->dims[i];
    int64_t move = wraps ? 1 - nest->dims[i] : 1;
    for (uint32_t k = 0; k < nest->array_count; k++) at->rows[k] += nest->strides[k][i] * move;
    if (!wraps) return;
    at->index[i] = 0;
  }
}

static void find_place(const weft_program *program, uint64_t start, place *at) {
  const weft_nest *nest = &program->nest;
  int32_t last = nest->rank - 1;
  at->linear = start;
  if (!program->by_rows) return;
  weft_nest_locate(nest, start, at->rows, at->index);
  at->column = (uint64_t)at->index[last];
  at->inner = (uint64_t)nest->dims[last];
  for (uint32_t k = 0; k < nest->array_count; k++)
    at->rows[k] -= at->index[last] * nest->strides[k][last];
}

weft_status weft_tiles_run(weft_tiles *tiles, uint64_t start, uint64_t count, const uint8_t *block,
                           uint8_t *y, weft_error *error) {
  const weft_program *program = tiles->program;
  place at;
  find_place(program, start, &at);
  while (count > 0) {
    uint64_t n = weft_min_u64(count, WEFT_TILE);
    if (program->by_rows) n = weft_min_u64(n, at.inner - at.column);
    WEFT_TRY(run_tile(tiles, &at, block, (size_t)n, y, error));
    y += n * program->stored_size;
    if (block != NULL) block += n * program->sources[0].size;
    count -= n;
    at.linear += n;
    if (!program->by_rows || count == 0) continue;
    at.column += n;
    if (at.column == at.inner) next_row(&program->nest, &at);
  }
  return WEFT_OK;
}
