/* compose.c - see compose.h. */
#include "opt/compose.h"

#include "opt/match.h"

void weft_compose_start(weft_composer *composer, const weft_graph *graph) {
  *composer = (weft_composer){.graph = graph};
}

uint32_t weft_compose_input(weft_composer *composer, weft_value_id value, weft_dtype dtype) {
  for (uint32_t i = 0; i < composer->input_count; i++) {
    if (composer->inputs[i] == value) return i;
  }
  if (composer->input_count == WEFT_EXPR_INPUTS_MAX) {
    composer->full = true;
    return 0;
  }
  composer->inputs[composer->input_count] = value;
  composer->dtypes[composer->input_count] = (uint8_t)dtype;
  return composer->input_count++;
}

static uint32_t add_instruction(weft_composer *composer, const weft_instruction *instruction) {
  if (composer->code_count == WEFT_EXPR_CODE_MAX) {
    composer->full = true;
    return 0;
  }
  composer->code[composer->code_count] = *instruction;
  return WEFT_EXPR_INPUTS_MAX + composer->code_count++;
}

/* A constant's only element as an immediate; false for types that have none. */
static bool read_immediate(const weft_composer *composer, weft_value_id id, weft_instruction *out) {
  const weft_value *value = &composer->graph->values[id];
  uint64_t elements;
  size_t size = weft_dtype_size(value->dtype);
  *out = (weft_instruction){.op = WEFT_EXPR_CONSTANT, .dtype = (uint8_t)value->dtype};
  if (value->kind != WEFT_VALUE_CONSTANT || !value->data || !weft_shape_is_fixed(&value->shape))
    return false;
  if (weft_shape_elements(&value->shape, &elements, NULL) != WEFT_OK || elements != 1) return false;
  if (weft_match_is_float(value->dtype))
    return weft_match_scalar(composer->graph, id, &out->immediate.f);
  if (value->dtype != WEFT_I64 && value->dtype != WEFT_I32 && value->dtype != WEFT_BOOL)
    return false;
  uint64_t bits = 0;
  if (weft_buffer_read(value->data, 0, size, &bits, NULL) != WEFT_OK) return false;
  out->immediate.i = value->dtype == WEFT_I32 ? (int64_t)(int32_t)(uint32_t)bits : (int64_t)bits;
  return true;
}

uint32_t weft_compose_value(weft_composer *composer, weft_value_id id, int32_t rank_max) {
  const weft_value *value = &composer->graph->values[id];
  weft_instruction immediate;
  if (value->shape.rank <= rank_max && read_immediate(composer, id, &immediate)) {
    return add_instruction(composer, &immediate);
  }
  return weft_compose_input(composer, id, value->dtype);
}

void weft_compose_append(weft_composer *composer, const weft_expr *expr, const uint32_t *operands) {
  uint32_t placed[WEFT_EXPR_CODE_MAX];
  composer->result = operands[0];
  for (uint32_t i = 0; i < expr->code_count; i++) {
    weft_instruction instruction = expr->code[i];
    for (uint32_t k = 0; k < weft_expr_operand_count((weft_expr_op)instruction.op); k++) {
      uint32_t from = instruction.operands[k];
      instruction.operands[k] =
          (uint8_t)(from < expr->input_count ? operands[from] : placed[from - expr->input_count]);
    }
    placed[i] = add_instruction(composer, &instruction);
    composer->result = placed[i];
  }
}

weft_status weft_compose_finish(const weft_composer *composer, weft_graph *graph, weft_expr *out,
                                weft_error *error) {
  weft_instruction *code =
      WEFT_ARENA_ARRAY(&graph->arena, weft_instruction, composer->code_count + 1);
  if (!code) return weft_arena_fail(&graph->arena, "a rewrite", error);
  *out = (weft_expr){.input_count = (uint8_t)composer->input_count,
                     .code_count = (uint8_t)composer->code_count,
                     .code = code};
  memcpy(out->input_dtypes, composer->dtypes, sizeof out->input_dtypes);
  for (uint32_t i = 0; i < composer->code_count; i++) {
    code[i] = composer->code[i];
    for (uint32_t k = 0; k < weft_expr_operand_count((weft_expr_op)code[i].op); k++) {
      uint32_t operand = code[i].operands[k];
      if (operand >= WEFT_EXPR_INPUTS_MAX) operand += composer->input_count - WEFT_EXPR_INPUTS_MAX;
      code[i].operands[k] = (uint8_t)operand;
    }
  }
  return WEFT_OK;
}

weft_status weft_count_user_nodes(const weft_graph *graph, weft_arena *arena, uint32_t **out,
                                  weft_error *error) {
  uint32_t *uses = WEFT_ARENA_ARRAY(arena, uint32_t, graph->value_count + 1);
  uint32_t *seen =
      WEFT_ARENA_ARRAY(arena, uint32_t, graph->value_count + 1); /* by value: last node + 1 */
  *out = uses;
  if (!uses || !seen) return weft_arena_fail(arena, "a rewrite", error);
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const weft_node *node = &graph->nodes[n];
    for (uint32_t i = 0; i < node->input_count && !node->removed; i++) {
      weft_value_id input = node->inputs[i];
      if (input == WEFT_VALUE_NONE || seen[input] == n + 1) continue;
      seen[input] = n + 1;
      uses[input]++;
    }
  }
  for (uint32_t r = 0; r < graph->region_count; r++) {
    for (uint32_t i = 0; i < graph->regions[r].output_count; i++)
      uses[graph->regions[r].outputs[i]]++;
  }
  return WEFT_OK;
}
