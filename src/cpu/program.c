/* program.c - compiles an expression into a program (see program.h); tiles.c runs it. */
#include "cpu/operation.h"

/* ---- f32 kernels ---------------------------------------------------------------------------- */

#define KERNEL(op, family, name)                                                                   \
  [WEFT_EXPR_##op] = {WEFT_FORM_##family, offsetof(weft_kernels, name##_f32)}

static const struct {
  uint8_t form;
  uint16_t offset; /* of the function pointer in weft_kernels */
} f32_kernels[WEFT_EXPR_OP_COUNT] = {
    KERNEL(ADD, BINARY, add),
    KERNEL(SUB, BINARY, sub),
    KERNEL(MUL, BINARY, mul),
    KERNEL(DIV, BINARY, div),
    KERNEL(POW, BINARY, pow),
    KERNEL(MIN, BINARY, min),
    KERNEL(MAX, BINARY, max),
    KERNEL(EQUAL, COMPARE, equal),
    KERNEL(LESS, COMPARE, less),
    KERNEL(LESS_EQUAL, COMPARE, less_equal),
    KERNEL(SELECT, SELECT, select),
    KERNEL(ABS, UNARY, abs),
    KERNEL(NEG, UNARY, neg),
    KERNEL(SIGN, UNARY, sign),
    KERNEL(RELU, UNARY, relu),
    KERNEL(SQRT, UNARY, sqrt),
    KERNEL(RSQRT, UNARY, rsqrt),
    KERNEL(RECIPROCAL, UNARY, reciprocal),
    KERNEL(FLOOR, UNARY, floor),
    KERNEL(CEIL, UNARY, ceil),
    KERNEL(ROUND, UNARY, round),
    KERNEL(TRUNC, UNARY, trunc),
    KERNEL(EXP, UNARY, exp),
    KERNEL(LOG, UNARY, log),
    KERNEL(ERF, UNARY, erf),
    KERNEL(TANH, UNARY, tanh),
    KERNEL(SIGMOID, UNARY, sigmoid),
    KERNEL(SILU, UNARY, silu),
    KERNEL(SOFTPLUS, UNARY, softplus),
    KERNEL(GELU_ERF, UNARY, gelu_erf),
    KERNEL(GELU_TANH, UNARY, gelu_tanh),
    KERNEL(SIN, UNARY, sin),
    KERNEL(COS, UNARY, cos),
    KERNEL(TAN, UNARY, tan),
    KERNEL(ASIN, UNARY, asin),
    KERNEL(ACOS, UNARY, acos),
    KERNEL(ATAN, UNARY, atan),
    KERNEL(SINH, UNARY, sinh),
    KERNEL(COSH, UNARY, cosh),
    KERNEL(ASINH, UNARY, asinh),
    KERNEL(ACOSH, UNARY, acosh),
    KERNEL(ATANH, UNARY, atanh),
};

static bool f32_kernel(const weft_kernels *kernels, weft_expr_op op, weft_operation *out) {
  if (f32_kernels[op].offset == 0) return false;
  const uint8_t *member = (const uint8_t *)kernels + f32_kernels[op].offset;
  out->form = f32_kernels[op].form;
  switch (out->form) {
  case WEFT_FORM_UNARY:
    memcpy(&out->call.unary, member, sizeof out->call.unary);
    break;
  case WEFT_FORM_BINARY:
    memcpy(&out->call.binary, member, sizeof out->call.binary);
    break;
  case WEFT_FORM_COMPARE:
    memcpy(&out->call.compare, member, sizeof out->call.compare);
    break;
  default:
    memcpy(&out->call.select, member, sizeof out->call.select);
  }
  return true;
}

/* ---- operations ----------------------------------------------------------------------------- */

typedef struct compiler {
  weft_program *program;
  const weft_kernels *kernels;
  const weft_expr *expr;
  weft_arena *arena;
  weft_error *error;
} compiler;

/* An operation that works in place on the result of the instruction before it. */
static weft_operation *add_operation(compiler *c, uint32_t x, uint32_t y) {
  weft_operation *operation = &c->program->operations[c->program->operation_count++];
  for (int i = 0; i < 3; i++) operation->x[i] = (uint8_t)x;
  operation->y = (uint8_t)y;
  return operation;
}

static void add_loop(compiler *c, uint32_t y, weft_loop_fn *loop, weft_dtype dtype) {
  weft_operation *operation = add_operation(c, y, y);
  unsigned bits = weft_dtype_bits(dtype);
  bool is_signed = weft_class_of(dtype) == WEFT_CLASS_I64;
  operation->form = WEFT_FORM_LOOP;
  operation->call.loop = loop;
  operation->range.bits = bits;
  operation->range.low = -(int64_t)(1ull << (bits - 1));
  operation->range.high = is_signed ? (1ull << (bits - 1)) - 1 : (1ull << bits) - 1;
}

/* Narrow integers: back into their range after arithmetic or a cast. */
static void add_range(compiler *c, uint32_t y, weft_dtype dtype, bool saturate) {
  weft_class held = weft_class_of(dtype);
  if ((held != WEFT_CLASS_I64 && held != WEFT_CLASS_U64) || weft_dtype_bits(dtype) == 64) return;
  bool is_signed = held == WEFT_CLASS_I64;
  weft_loop_fn *wrap = is_signed ? weft_loop_wrap_signed : weft_loop_wrap_unsigned;
  weft_loop_fn *clamp = is_signed ? weft_loop_clamp_signed : weft_loop_clamp_unsigned;
  add_loop(c, y, saturate ? clamp : wrap, dtype);
}

static void add_cast(compiler *c, uint32_t x, uint32_t y, weft_dtype to) {
  weft_class from = weft_class_of(weft_expr_dtype(c->expr, x)), held = weft_class_of(to);
  weft_convert_fn *caster = weft_class_caster(c->kernels, from, held);
  weft_operation *operation = add_operation(c, x, y);
  operation->form = caster != NULL ? WEFT_FORM_CONVERT : WEFT_FORM_MOVE;
  operation->call.convert = caster;
  operation->size = (uint8_t)weft_class_size(held);
  add_range(c, y, to, from == WEFT_CLASS_F32 || from == WEFT_CLASS_F64);
  if (to != WEFT_F16 && to != WEFT_BF16) return;
  operation = add_operation(c, y, y); /* rounds: held as f32, but with the precision asked for */
  operation->form = WEFT_FORM_ROUND;
  operation->call.convert = weft_class_storer(c->kernels, to);
  operation->back = weft_class_loader(c->kernels, to);
}

static weft_status unsupported(compiler *c, weft_expr_op op, weft_dtype dtype) {
  return weft_fail(c->error, WEFT_UNSUPPORTED, "%s on %s is not supported", weft_expr_op_name(op),
                   weft_dtype_name(dtype));
}

static weft_status add_instruction(compiler *c, const weft_instruction *code, uint32_t y) {
  weft_expr_op op = (weft_expr_op)code->op;
  weft_dtype dtype = (weft_dtype)code->dtype;
  uint32_t operands = weft_expr_operand_count(op);
  uint32_t typed = op == WEFT_EXPR_SELECT ? 1 : 0;
  weft_dtype operand_dtype = weft_expr_dtype(c->expr, code->operands[typed]);
  weft_class held = weft_class_of(operand_dtype);
  if (held == WEFT_CLASS_NONE || weft_class_of(dtype) == WEFT_CLASS_NONE)
    return unsupported(c, op, held == WEFT_CLASS_NONE ? operand_dtype : dtype);
  if (op == WEFT_EXPR_CAST) {
    add_cast(c, code->operands[0], y, dtype);
    return WEFT_OK;
  }
  weft_operation *operation = add_operation(c, code->operands[0], y);
  for (uint32_t i = 0; i < operands; i++) operation->x[i] = code->operands[i];
  if (held == WEFT_CLASS_F32 && f32_kernel(c->kernels, op, operation)) return WEFT_OK;
  operation->form = WEFT_FORM_LOOP;
  operation->call.loop = weft_loop_of(op, held);
  if (operation->call.loop == NULL) return unsupported(c, op, operand_dtype);
  add_range(c, y, dtype, false);
  return WEFT_OK;
}

static weft_status add_instructions(compiler *c) {
  weft_program *program = c->program;
  /* An instruction takes up to three operations: cast, range, rounding. */
  program->operations = WEFT_ARENA_ARRAY(c->arena, weft_operation, 3u * c->expr->code_count + 1);
  if (program->operations == NULL) return weft_arena_fail(c->arena, "an expression", c->error);
  for (uint32_t i = 0; i < c->expr->code_count; i++) {
    const weft_instruction *code = &c->expr->code[i];
    if (code->op != WEFT_EXPR_CONSTANT)
      WEFT_TRY(add_instruction(c, code, c->expr->input_count + i));
  }
  return WEFT_OK;
}

/* ---- sources and registers ------------------------------------------------------------------ */

static weft_source_kind source_kind(const weft_nest *nest, uint32_t input) {
  int64_t expected = 1;
  bool linear = true, scalar = true;
  for (int32_t i = nest->rank - 1; i >= 0; i--) {
    linear = linear && (nest->dims[i] == 1 || nest->strides[input][i] == expected);
    scalar = scalar && nest->strides[input][i] == 0;
    expected *= nest->dims[i];
  }
  return scalar ? WEFT_SOURCE_SCALAR : linear ? WEFT_SOURCE_LINEAR : WEFT_SOURCE_ROWS;
}

/* Rows shorter than this are gathered, several to a tile. */
#define ROW_MIN 48

static weft_status set_sources(compiler *c, bool block) {
  weft_program *program = c->program;
  const weft_nest *nest = &program->nest;
  for (uint32_t i = 0; i < program->input_count; i++) {
    weft_source_form *source = &program->sources[i];
    weft_dtype dtype = (weft_dtype)c->expr->input_dtypes[i];
    weft_class held = weft_class_of(dtype);
    if (held == WEFT_CLASS_NONE)
      return weft_fail(c->error, WEFT_UNSUPPORTED, "elements of type %s are not supported",
                       weft_dtype_name(dtype));
    source->kind = block && i == 0 ? WEFT_SOURCE_BLOCK : source_kind(nest, i);
    source->load = source->kind == WEFT_SOURCE_BLOCK ? NULL : weft_class_loader(c->kernels, dtype);
    source->held_size = (uint8_t)weft_class_size(held);
    source->size = source->load != NULL ? (uint8_t)weft_dtype_size(dtype) : source->held_size;
    source->stride = nest->strides[i][nest->rank - 1];
    if (source->kind == WEFT_SOURCE_ROWS) program->has_rows = true;
  }
  program->by_rows = program->has_rows && nest->dims[nest->rank - 1] >= ROW_MIN;
  program->tile = (uint32_t)weft_min_u64(WEFT_TILE, weft_extent(nest->dims, 0, nest->rank));
  return WEFT_OK;
}

static bool needs_register(const weft_source_form *source) {
  return source->load != NULL || source->kind == WEFT_SOURCE_SCALAR ||
         source->kind == WEFT_SOURCE_ROWS;
}

/* The last operation that reads each operand. */
static void find_last_uses(const weft_program *program, int32_t *last) {
  for (uint32_t i = 0; i < program->operand_count; i++) last[i] = -1;
  for (uint32_t i = 0; i < program->operation_count; i++)
    for (int k = 0; k < 3; k++) last[program->operations[i].x[k]] = (int32_t)i;
  last[program->result] = INT32_MAX;
}

static uint32_t operand_size(const compiler *c, uint32_t operand) {
  return (uint32_t)weft_class_size(weft_class_of(weft_expr_dtype(c->expr, operand)));
}

/* Inputs and constants keep their registers, so that what repeats is splatted once; results take
 * the first that is free. */
static void set_registers(compiler *c) {
  weft_program *program = c->program;
  int32_t last[WEFT_PROGRAM_OPERANDS];
  int32_t busy_until[WEFT_PROGRAM_OPERANDS] = {0}; /* by register */
  find_last_uses(program, last);
  uint32_t *count = &program->slot_count;
  program->slot_bytes = 1;
  for (uint32_t i = 0; i < program->operand_count; i++) {
    uint32_t size = operand_size(c, i);
    if (size > program->slot_bytes) program->slot_bytes = size;
    bool is_input = i < program->input_count;
    program->slots[i] = -1;
    if (is_input ? needs_register(&program->sources[i])
                 : c->expr->code[i - program->input_count].op == WEFT_EXPR_CONSTANT) {
      program->slots[i] = (int32_t)*count;
      busy_until[(*count)++] = INT32_MAX;
    }
    if (is_input) program->sources[i].used = last[i] >= 0;
  }
  program->slot_bytes *= WEFT_TILE;
  for (uint32_t i = 0; i < program->operation_count; i++) {
    uint32_t y = program->operations[i].y;
    if (program->slots[y] >= 0 || (program->direct && y == program->result)) continue;
    uint32_t slot = 0;
    while (slot < *count && busy_until[slot] >= (int32_t)i) slot++;
    if (slot == *count) (*count)++;
    program->slots[y] = (int32_t)slot;
    busy_until[slot] = last[y] >= (int32_t)i ? last[y] : (int32_t)i;
  }
}

static bool is_plain(const weft_program *program) {
  if (!program->direct || program->operation_count != 1 || program->expr->code_count != 1)
    return false;
  for (uint32_t i = 0; i < program->input_count; i++) {
    const weft_source_form *source = &program->sources[i];
    if (source->used && (source->kind != WEFT_SOURCE_LINEAR || source->load != NULL)) return false;
  }
  return true;
}

weft_status weft_program_make(weft_program *program, const weft_kernels *kernels,
                              const weft_expr *expr, weft_dtype stored, const weft_nest *nest,
                              bool block, weft_arena *arena, weft_error *error) {
  compiler c = {program, kernels, expr, arena, error};
  memset(program, 0, sizeof *program);
  program->expr = expr;
  program->nest = *nest;
  program->input_count = expr->input_count;
  program->operand_count = (uint32_t)expr->input_count + expr->code_count;
  program->result = expr->code_count > 0 ? program->operand_count - 1 : 0;
  WEFT_TRY(set_sources(&c, block));
  WEFT_TRY(add_instructions(&c));
  program->store = weft_class_storer(kernels, stored);
  program->stored_size = (uint8_t)weft_dtype_size(stored);
  program->result_size = (uint8_t)operand_size(&c, program->result);
  program->direct = program->store == NULL && program->result >= program->input_count &&
                    expr->code[expr->code_count - 1].op != WEFT_EXPR_CONSTANT;
  set_registers(&c);
  program->plain = is_plain(program);
  /* One more register stages gathered elements before they are converted. */
  program->scratch_bytes = (uint64_t)(program->slot_count + 1) * program->slot_bytes;
  return WEFT_OK;
}
