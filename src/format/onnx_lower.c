/* onnx_lower.c - the driver of the lowering: walks the nodes of the main graph, of branches and of
 * called functions on an explicit stack of frames, hands each node to its handler (table in
 * onnx_ops.inc, handlers in onnx_ops_*.c), and binds the results to names. Comes after the wire
 * decoder, before graph/verify.c. */
#include "format/onnx_lower_internal.h"

weft_status weft_lowering_no_memory(weft_lowering *l) {
  return weft_arena_fail(&l->scratch, "the lowering of the graph", l->error);
}

void weft_onnx_if(weft_call *call);

/* ---- operator sets --------------------------------------------------------------------------- */

static weft_str domain_of(weft_str domain) {
  return weft_str_is(domain, "ai.onnx") ? WEFT_STR("") : domain;
}

static weft_status check_opsets(weft_lowering *l, const weft_onnx_operator_set *opsets,
                                uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (domain_of(opsets[i].domain).length == 0 &&
        (opsets[i].version < WEFT_ONNX_OLDEST || opsets[i].version > WEFT_ONNX_NEWEST))
      return weft_fail(l->error, WEFT_UNSUPPORTED,
                       "the model uses opset %lld of ONNX; supported are %d to %d",
                       (long long)opsets[i].version, WEFT_ONNX_OLDEST, WEFT_ONNX_NEWEST);
  return WEFT_OK;
}

/* 0 when the domain is not imported. */
static int64_t version_of(const weft_onnx_operator_set *opsets, uint32_t count, weft_str domain) {
  for (uint32_t i = 0; i < count; ++i)
    if (weft_str_equal(domain_of(opsets[i].domain), domain)) return opsets[i].version;
  return 0;
}

static weft_str function_key(weft_lowering *l, weft_str domain, weft_str name, weft_str overload) {
  return weft_arena_format(&l->scratch, "%.*s::%.*s:%.*s", WEFT_STR_ARGS(domain_of(domain)),
                           WEFT_STR_ARGS(name), WEFT_STR_ARGS(overload));
}

static weft_status index_functions(weft_lowering *l) {
  weft_map_init(&l->functions, &l->scratch);
  for (uint32_t i = 0; i < l->model->function_count; ++i) {
    const weft_onnx_function *f = &l->model->functions[i];
    weft_str key = function_key(l, f->domain, f->name, f->overload);
    if (weft_map_find(&l->functions, key) != WEFT_MAP_NONE)
      return weft_fail(l->error, WEFT_INVALID_MODEL, "function '%.*s' is defined more than once",
                       WEFT_STR_ARGS(f->name));
    if (key.length == 0 || !weft_map_set(&l->functions, key, i)) return weft_lowering_no_memory(l);
  }
  return WEFT_OK;
}

/* NULL in *out when the node is no call of a local function. */
static weft_status find_function(weft_lowering *l, const weft_onnx_node *node,
                                 const weft_onnx_function **out) {
  *out = NULL;
  if (l->model->function_count == 0) return WEFT_OK;
  weft_str key = function_key(l, node->domain, node->op_type, node->overload);
  if (key.length == 0) return weft_lowering_no_memory(l);
  uint32_t index = weft_map_find(&l->functions, key);
  if (index != WEFT_MAP_NONE) *out = &l->model->functions[index];
  return WEFT_OK;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static const weft_argument *find_reference(const weft_frame *frame, weft_str name) {
  for (uint32_t i = 0; i < frame->argument_count; ++i)
    if (weft_str_equal(frame->arguments[i].name, name)) return &frame->arguments[i];
  return NULL;
}

/* The node's attributes; a reference to one that the enclosing function was called without counts
 * as absent. */
static void resolve_arguments(weft_lowering *l, const weft_frame *frame, weft_call *call) {
  const weft_onnx_node *node = call->node;
  call->arguments = WEFT_ARENA_ARRAY(&l->scratch, weft_argument, node->attribute_count);
  if (!call->arguments) {
    call->status = weft_lowering_no_memory(l);
    return;
  }
  for (uint32_t i = 0; i < node->attribute_count; ++i) {
    const weft_onnx_attribute *attribute = &node->attributes[i];
    const weft_argument *referred = NULL;
    if (attribute->reference.length > 0) {
      referred = find_reference(frame, attribute->reference);
      if (!referred) continue;
    }
    for (uint32_t j = 0; j < call->argument_count; ++j)
      if (weft_str_equal(call->arguments[j].name, attribute->name))
        weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%.*s' is given twice",
                       WEFT_STR_ARGS(attribute->name));
    call->arguments[call->argument_count++] =
        (weft_argument){attribute->name, referred ? referred->value : attribute, false};
  }
}

/* 4-bit integers are for this operator only: others would take them for bytes. */
static bool takes_nibbles(const weft_onnx_node *node) {
  return weft_str_is(node->op_type, "DequantizeLinear");
}

static void resolve_inputs(weft_lowering *l, const weft_frame *frame, weft_call *call,
                           weft_value_id *inputs) {
  for (uint32_t i = 0; i < call->input_count; ++i) {
    weft_str name = call->node->inputs[i];
    uint32_t number = name.length ? weft_scope_find(frame->scope, name) : WEFT_NAME_LEFT_OUT;
    inputs[i] = number == WEFT_NAME_LEFT_OUT ? WEFT_VALUE_NONE : number;
    if (number != WEFT_NAME_LEFT_OUT && number >= WEFT_NAME_MISSING)
      weft_call_fail(call, WEFT_UNSUPPORTED, "input '%.*s' is not supported: %.*s",
                     WEFT_STR_ARGS(name), WEFT_STR_ARGS(l->missing[number - WEFT_NAME_MISSING]));
    if (weft_lowering_nibbles(l, inputs[i]) && !takes_nibbles(call->node))
      weft_call_fail(call, WEFT_UNSUPPORTED, "input '%.*s' has elements of 4 bits",
                     WEFT_STR_ARGS(name));
  }
  while (call->input_count > 0 && inputs[call->input_count - 1] == WEFT_VALUE_NONE)
    --call->input_count;
}

static weft_status begin_call(weft_lowering *l, const weft_frame *frame, weft_call *call) {
  const weft_onnx_node *node = weft_frame_node(frame);
  *call = (weft_call){.lowering = l,
                      .node = node,
                      .name = weft_lowering_node_name(l, frame),
                      .region = frame->region,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .first_value = l->graph->value_count};
  weft_value_id *inputs = WEFT_ARENA_ARRAY(&l->scratch, weft_value_id, node->input_count);
  call->outputs = WEFT_ARENA_ARRAY(&l->scratch, weft_value_id, node->output_count);
  if (!inputs || !call->outputs) return weft_lowering_no_memory(l);
  for (uint32_t i = 0; i < node->output_count; ++i) call->outputs[i] = WEFT_VALUE_NONE;
  call->inputs = inputs;
  resolve_inputs(l, frame, call, inputs);
  resolve_arguments(l, frame, call);
  return call->status;
}

/* ---- outputs --------------------------------------------------------------------------------- */

static weft_status add_identity(weft_lowering *l, uint32_t region, weft_str name,
                                weft_value_id *value) {
  weft_node *node;
  weft_expr expr = {.input_count = 1, .input_dtypes = {(uint8_t)l->graph->values[*value].dtype}};
  WEFT_TRY(weft_graph_add_node(l->graph, region, WEFT_OP_MAP, name, WEFT_STR("Identity"), value, 1,
                               1, &node, l->error));
  node->attributes.map.expr = expr;
  *value = node->outputs[0];
  return weft_infer_node(&l->inference, (weft_node_id)(node - l->graph->nodes), l->error);
}

/* Makes ids[index] a value that no other name stands for: one made since `first`, and not yet in
 * ids[0..index). */
static weft_status make_own(weft_lowering *l, uint32_t region, weft_str name, uint32_t first,
                            weft_value_id *ids, uint32_t index) {
  bool own = ids[index] >= first;
  for (uint32_t i = 0; own && i < index; ++i) own = ids[i] != ids[index];
  return own ? WEFT_OK : add_identity(l, region, name, &ids[index]);
}

/* Gives a node's outputs (its values `ids`) their names in the frame. */
static weft_status bind_outputs(weft_lowering *l, weft_frame *frame, const weft_onnx_node *node,
                                weft_str node_name, uint32_t first, weft_value_id *ids) {
  for (uint32_t i = 0; i < node->output_count; ++i) {
    weft_str name = node->outputs[i];
    if (name.length == 0) continue;
    if (ids[i] == WEFT_VALUE_NONE) {
      weft_str reason = weft_arena_format(&l->scratch, "output %u of node '%.*s' (%.*s)", i,
                                          WEFT_STR_ARGS(node_name), WEFT_STR_ARGS(node->op_type));
      WEFT_TRY(weft_lowering_define_missing(l, frame->scope, name, reason));
      continue;
    }
    WEFT_TRY(make_own(l, frame->region, node_name, first, ids, i));
    weft_value *value = &l->graph->values[ids[i]];
    value->name = weft_arena_copy(&l->graph->arena, weft_lowering_name(l, frame, name));
    if (!value->name.data) return weft_lowering_no_memory(l);
    WEFT_TRY(weft_lowering_hint(l, frame, name, ids[i]));
    WEFT_TRY(weft_lowering_define(l, frame->scope, name, ids[i]));
  }
  return WEFT_OK;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* A frame inside the current one, which must have room: depths are checked by the callers. */
static weft_frame *push_frame(weft_lowering *l, weft_scope *scope_around) {
  weft_scope *scope = weft_lowering_scope(l, scope_around);
  if (!scope) return NULL;
  weft_frame *frame = &l->frames[l->depth];
  *frame = l->depth > 0 ? l->frames[l->depth - 1] : (weft_frame){0};
  frame->scope = scope;
  frame->order = NULL;
  frame->position = frame->branches_done = 0;
  frame->hints.arena = NULL;
  frame->first_value = l->graph->value_count;
  frame->graph = NULL;
  frame->function = NULL;
  frame->caller = NULL;
  ++l->depth;
  return frame;
}

static weft_frame *top_frame(weft_lowering *l) {
  return &l->frames[l->depth - 1];
}

static weft_status push_branch(weft_lowering *l, const weft_call *call,
                               const weft_onnx_graph *graph, bool taken_for_sure) {
  weft_frame *around = top_frame(l);
  if (around->subgraph_depth == WEFT_MAX_SUBGRAPH_DEPTH)
    return weft_fail(l->error, WEFT_LIMIT_EXCEEDED,
                     "node '%.*s': subgraphs are nested more than %u deep",
                     WEFT_STR_ARGS(call->name), WEFT_MAX_SUBGRAPH_DEPTH);
  if (graph->input_count > 0)
    return weft_fail(l->error, WEFT_INVALID_MODEL, "node '%.*s' (If): a branch has inputs",
                     WEFT_STR_ARGS(call->name));
  weft_frame *frame = push_frame(l, around->scope);
  if (!frame) return weft_lowering_no_memory(l);
  frame->graph = graph;
  frame->nodes = graph->nodes;
  frame->node_count = graph->node_count;
  ++frame->subgraph_depth;
  frame->caller = taken_for_sure ? call->node : NULL;
  frame->caller_name = call->name;
  if (!taken_for_sure)
    WEFT_TRY(weft_graph_add_region(l->graph, around->region, &frame->region, l->error));
  return weft_lowering_initializers(l, graph, frame);
}

/* The attributes that a function's body may refer to: those of the call, then defaults. */
static weft_status function_arguments(weft_lowering *l, weft_call *call,
                                      const weft_onnx_function *function, weft_frame *frame) {
  for (uint32_t i = 0; i < call->argument_count; ++i) {
    weft_argument *a = &call->arguments[i];
    for (uint32_t j = 0; j < function->attribute_count; ++j)
      a->read |= weft_str_equal(function->attributes[j], a->name);
    for (uint32_t j = 0; j < function->attribute_default_count; ++j)
      a->read |= weft_str_equal(function->attribute_defaults[j].name, a->name);
    if (!a->read)
      weft_call_fail(call, WEFT_INVALID_MODEL, "the function has no attribute '%.*s'",
                     WEFT_STR_ARGS(a->name));
    if (a->value->g)
      weft_call_fail(call, WEFT_UNSUPPORTED, "attribute '%.*s' hands a graph to a function",
                     WEFT_STR_ARGS(a->name));
  }
  frame->arguments = WEFT_ARENA_ARRAY(&l->scratch, weft_argument,
                                      call->argument_count + function->attribute_default_count);
  if (!frame->arguments) return weft_lowering_no_memory(l);
  frame->argument_count = call->argument_count;
  if (call->argument_count > 0)
    memcpy(frame->arguments, call->arguments, call->argument_count * sizeof(weft_argument));
  for (uint32_t i = 0; i < function->attribute_default_count; ++i) {
    const weft_onnx_attribute *a = &function->attribute_defaults[i];
    if (!find_reference(frame, a->name))
      frame->arguments[frame->argument_count++] = (weft_argument){a->name, a, false};
  }
  return call->status;
}

static weft_status check_call(weft_lowering *l, weft_call *call,
                              const weft_onnx_function *function) {
  for (uint32_t i = 0; i < l->depth; ++i)
    if (l->frames[i].function == function)
      weft_call_fail(call, WEFT_INVALID_MODEL, "the function calls itself");
  if (top_frame(l)->function_depth == WEFT_MAX_FUNCTION_DEPTH)
    weft_call_fail(call, WEFT_LIMIT_EXCEEDED, "function calls are nested more than %u deep",
                   WEFT_MAX_FUNCTION_DEPTH);
  if (call->input_count > function->input_count || call->output_count > function->output_count)
    weft_call_fail(
        call, WEFT_INVALID_MODEL, "the call has %u inputs and %u outputs, the function %u and %u",
        call->input_count, call->output_count, function->input_count, function->output_count);
  if (call->status != WEFT_OK) return call->status;
  return check_opsets(l, function->opsets, function->opset_count);
}

static weft_status push_function(weft_lowering *l, const weft_onnx_function *function) {
  weft_call call;
  WEFT_TRY(begin_call(l, top_frame(l), &call));
  WEFT_TRY(check_call(l, &call, function));
  weft_frame *frame = push_frame(l, NULL);
  if (!frame) return weft_lowering_no_memory(l);
  frame->function = function;
  frame->nodes = function->nodes;
  frame->node_count = function->node_count;
  frame->opsets = function->opsets;
  frame->opset_count = function->opset_count;
  frame->caller = call.node;
  frame->caller_name = call.name;
  frame->prefix = weft_arena_format(&l->scratch, "%.*s/", WEFT_STR_ARGS(call.name));
  ++frame->function_depth;
  WEFT_TRY(function_arguments(l, &call, function, frame));
  for (uint32_t i = 0; i < function->input_count; ++i) {
    weft_value_id value = weft_call_input(&call, i);
    WEFT_TRY(weft_lowering_define(l, frame->scope, function->inputs[i],
                                  value == WEFT_VALUE_NONE ? WEFT_NAME_LEFT_OUT : value));
  }
  return WEFT_OK;
}

/* ---- the end of a frame ---------------------------------------------------------------------- */

static uint32_t frame_output_count(const weft_frame *frame) {
  return frame->graph ? frame->graph->output_count : frame->function->output_count;
}

static weft_str frame_output_name(const weft_frame *frame, uint32_t index) {
  return frame->graph ? frame->graph->outputs[index].name : frame->function->outputs[index];
}

static weft_status find_output(weft_lowering *l, const weft_frame *frame, uint32_t index,
                               weft_value_id *out) {
  weft_str name = frame_output_name(frame, index);
  uint32_t number = weft_scope_find(frame->scope, name);
  if (number == WEFT_MAP_NONE || number == WEFT_NAME_LEFT_OUT)
    return weft_fail(l->error, WEFT_INVALID_MODEL, "nothing defines output '%.*s' of %s '%.*s'",
                     WEFT_STR_ARGS(name), frame->graph ? "graph" : "function",
                     WEFT_STR_ARGS(frame->graph ? frame->graph->name : frame->function->name));
  if (number >= WEFT_NAME_MISSING)
    return weft_fail(l->error, WEFT_UNSUPPORTED, "output '%.*s' is not supported: %.*s",
                     WEFT_STR_ARGS(name), WEFT_STR_ARGS(l->missing[number - WEFT_NAME_MISSING]));
  if (weft_lowering_nibbles(l, number))
    return weft_fail(l->error, WEFT_UNSUPPORTED, "output '%.*s' has elements of 4 bits",
                     WEFT_STR_ARGS(name));
  *out = number;
  return WEFT_OK;
}

/* A called function or a branch that is taken for sure: its outputs become those of the node that
 * stands for it. */
static weft_status finish_inlined(weft_lowering *l, const weft_frame *frame) {
  const weft_onnx_node *node = frame->caller;
  weft_frame *around = &l->frames[l->depth - 2];
  weft_value_id *ids = WEFT_ARENA_ARRAY(&l->scratch, weft_value_id, node->output_count);
  if (!ids) return weft_lowering_no_memory(l);
  if (node->output_count > frame_output_count(frame))
    return weft_fail(l->error, WEFT_INVALID_MODEL, "node '%.*s' (%.*s) has %u outputs, its body %u",
                     WEFT_STR_ARGS(frame->caller_name), WEFT_STR_ARGS(node->op_type),
                     node->output_count, frame_output_count(frame));
  for (uint32_t i = 0; i < node->output_count; ++i)
    if (node->outputs[i].length > 0) WEFT_TRY(find_output(l, frame, i, &ids[i]));
  --l->depth;
  return bind_outputs(l, around, node, frame->caller_name, frame->first_value, ids);
}

static weft_status check_declared(weft_lowering *l, const weft_onnx_value_info *info,
                                  weft_value_id id) {
  const weft_value *value = &l->graph->values[id];
  if (!info->is_tensor || info->element_type == WEFT_DTYPE_NONE ||
      info->element_type == (int32_t)value->dtype)
    return WEFT_OK;
  return weft_fail(l->error, WEFT_INVALID_MODEL,
                   "output '%.*s' is declared as ONNX type %d, but has elements of type %s",
                   WEFT_STR_ARGS(info->name), info->element_type, weft_dtype_name(value->dtype));
}

/* The main graph, or a branch that is a region of its own. */
static weft_status finish_region(weft_lowering *l, const weft_frame *frame) {
  uint32_t count = frame->graph->output_count;
  weft_value_id *ids = WEFT_ARENA_ARRAY(&l->graph->arena, weft_value_id, count);
  if (!ids) return weft_lowering_no_memory(l);
  bool is_branch = l->depth > 1;
  for (uint32_t i = 0; i < count; ++i) {
    WEFT_TRY(find_output(l, frame, i, &ids[i]));
    WEFT_TRY(check_declared(l, &frame->graph->outputs[i], ids[i]));
    if (is_branch)
      WEFT_TRY(make_own(l, frame->region, frame->caller_name, frame->first_value, ids, i));
  }
  l->graph->regions[frame->region].outputs = ids;
  l->graph->regions[frame->region].output_count = count;
  --l->depth;
  if (!is_branch) return WEFT_OK;
  weft_frame *around = top_frame(l);
  around->branches[around->branches_done++] = frame->region;
  return WEFT_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void check_inputs(weft_call *call, const weft_onnx_row *row) {
  if (call->input_count < row->inputs_min || call->input_count > row->inputs_max)
    weft_call_fail(call, WEFT_INVALID_MODEL, "it has %u inputs; %u to %u are allowed",
                   call->input_count, row->inputs_min, row->inputs_max);
  for (uint32_t i = 0; i < row->inputs_min && i < call->input_count; ++i)
    if (call->inputs[i] == WEFT_VALUE_NONE)
      weft_call_fail(call, WEFT_INVALID_MODEL, "input %u is missing", i);
  if (call->output_count == 0) weft_call_fail(call, WEFT_INVALID_MODEL, "it has no outputs");
}

static void check_all_read(weft_call *call) {
  for (uint32_t i = 0; i < call->argument_count; ++i)
    if (!call->arguments[i].read)
      weft_call_fail(call, WEFT_UNSUPPORTED, "attribute '%.*s' is not supported in opset %lld",
                     WEFT_STR_ARGS(call->arguments[i].name), (long long)call->version);
}

/* An If lowers its branches first, one per call of this function, or in place the one that is taken
 * for sure. Answers in *pushed whether there is a branch to lower now. */
static weft_status lower_branches(weft_lowering *l, weft_frame *frame, weft_call *call,
                                  bool *pushed) {
  const weft_onnx_graph *branches[2] = {weft_call_graph(call, "then_branch"),
                                        weft_call_graph(call, "else_branch")};
  WEFT_TRY(call->status);
  uint32_t count;
  const int64_t *condition = weft_call_elements(call, call->inputs[0], &count);
  if (condition && count == 1) {
    *pushed = true;
    ++frame->position;
    return push_branch(l, call, branches[condition[0] ? 0 : 1], true);
  }
  *pushed = frame->branches_done < 2;
  return *pushed ? push_branch(l, call, branches[frame->branches_done], false) : WEFT_OK;
}

static weft_status find_operator(weft_lowering *l, const weft_frame *frame,
                                 const weft_onnx_row **row, int64_t *version) {
  const weft_onnx_node *node = weft_frame_node(frame);
  weft_str domain = domain_of(node->domain);
  *version = version_of(frame->opsets, frame->opset_count, domain);
  if (*version <= 0) {
    weft_str name = weft_lowering_node_name(l, frame);
    return weft_fail(l->error, WEFT_INVALID_MODEL,
                     "node '%.*s' (%.*s): its operator set '%.*s' is not imported",
                     WEFT_STR_ARGS(name), WEFT_STR_ARGS(node->op_type),
                     WEFT_STR_ARGS(domain.length ? domain : WEFT_STR("ai.onnx")));
  }
  if (!weft_onnx_find_row(&l->operators, &l->scratch, domain, node->op_type, *version, row))
    return weft_lowering_no_memory(l);
  if (*row) return WEFT_OK;
  weft_str name = weft_lowering_node_name(l, frame);
  return weft_fail(l->error, WEFT_UNSUPPORTED,
                   "node '%.*s': operator %.*s::%.*s (opset %lld) is not supported",
                   WEFT_STR_ARGS(name), WEFT_STR_ARGS(domain.length ? domain : WEFT_STR("ai.onnx")),
                   WEFT_STR_ARGS(node->op_type), (long long)*version);
}

static weft_status lower_operator(weft_lowering *l, weft_frame *frame) {
  weft_call call;
  const weft_onnx_row *row;
  int64_t version;
  WEFT_TRY(find_operator(l, frame, &row, &version));
  WEFT_TRY(begin_call(l, frame, &call));
  call.version = version;
  call.parameter = row->parameter;
  check_inputs(&call, row);
  WEFT_TRY(call.status);
  if (row->lower == weft_onnx_if) {
    bool pushed;
    WEFT_TRY(lower_branches(l, frame, &call, &pushed));
    if (pushed) return WEFT_OK;
  }
  row->lower(&call);
  check_all_read(&call);
  WEFT_TRY(call.status);
  WEFT_TRY(bind_outputs(l, frame, call.node, call.name, call.first_value, call.outputs));
  frame->branches_done = 0;
  ++frame->position;
  return WEFT_OK;
}

/* Both branches are regions by now. */
void weft_onnx_if(weft_call *call) {
  const weft_frame *frame = top_frame(call->lowering);
  const weft_region *regions = call->lowering->graph->regions;
  weft_attributes attributes = {
      .branches = {.then_region = frame->branches[0], .else_region = frame->branches[1]}};
  for (uint32_t i = 0; i < 2; ++i)
    if (regions[frame->branches[i]].output_count < call->output_count)
      weft_call_fail(call, WEFT_INVALID_MODEL, "it has %u outputs, a branch of it %u",
                     call->output_count, regions[frame->branches[i]].output_count);
  weft_call_node_outputs(call, WEFT_OP_IF, &attributes, call->inputs, 1, call->outputs,
                         call->output_count);
}

static weft_status step(weft_lowering *l) {
  weft_frame *frame = top_frame(l);
  if (frame->position == frame->node_count)
    return frame->caller ? finish_inlined(l, frame) : finish_region(l, frame);
  if (++l->nodes_seen > WEFT_MAX_NODES)
    return weft_fail(l->error, WEFT_LIMIT_EXCEEDED,
                     "the model has more than %u nodes, those of called functions included",
                     WEFT_MAX_NODES);
  WEFT_TRY(weft_lowering_make_ready(l, frame));
  const weft_onnx_function *function;
  WEFT_TRY(find_function(l, weft_frame_node(frame), &function));
  if (!function) return lower_operator(l, frame);
  WEFT_TRY(push_function(l, function));
  ++frame->position;
  return WEFT_OK;
}

/* ---- the main graph -------------------------------------------------------------------------- */

static weft_status add_input(weft_lowering *l, const weft_onnx_value_info *info,
                             weft_value_id *out) {
  if (!info->is_tensor || weft_dtype_size((weft_dtype)info->element_type) == 0)
    return weft_fail(l->error, WEFT_UNSUPPORTED,
                     info->is_tensor ? "input '%.*s' has elements of ONNX type %d"
                                     : "input '%.*s' is not a tensor (element type %d)",
                     WEFT_STR_ARGS(info->name), info->element_type);
  weft_shape shape;
  WEFT_TRY(weft_lowering_shape(l, info, &shape));
  return weft_graph_add_value(l->graph, info->name, WEFT_VALUE_INPUT,
                              (weft_dtype)info->element_type, &shape, out, l->error);
}

/* Before IR version 4 initializers stood among the inputs, and later they may, as overridable
 * defaults: constants for us. */
static bool is_initialized(weft_lowering *l, const weft_frame *frame, weft_str name) {
  uint32_t number = weft_scope_find(frame->scope, name);
  if (number == WEFT_MAP_NONE) return false;
  return number >= WEFT_NAME_MISSING || l->graph->values[number].kind == WEFT_VALUE_CONSTANT;
}

static weft_status add_inputs(weft_lowering *l, const weft_frame *frame) {
  const weft_onnx_graph *graph = frame->graph;
  weft_region *region = &l->graph->regions[0];
  region->inputs = WEFT_ARENA_ARRAY(&l->graph->arena, weft_value_id, graph->input_count);
  if (!region->inputs) return weft_lowering_no_memory(l);
  for (uint32_t i = 0; i < graph->input_count; ++i) {
    const weft_onnx_value_info *info = &graph->inputs[i];
    if (info->name.length == 0)
      return weft_fail(l->error, WEFT_INVALID_MODEL, "input %u has no name", i);
    if (is_initialized(l, frame, info->name)) continue;
    weft_value_id *id = &region->inputs[region->input_count++];
    WEFT_TRY(add_input(l, info, id));
    WEFT_TRY(weft_lowering_define(l, frame->scope, info->name, *id));
  }
  return WEFT_OK;
}

static weft_status push_main(weft_lowering *l) {
  weft_frame *frame = push_frame(l, NULL);
  if (!frame) return weft_lowering_no_memory(l);
  frame->graph = l->model->graph;
  frame->nodes = l->model->graph->nodes;
  frame->node_count = l->model->graph->node_count;
  frame->opsets = l->model->opsets;
  frame->opset_count = l->model->opset_count;
  WEFT_TRY(weft_lowering_initializers(l, frame->graph, frame));
  return add_inputs(l, frame);
}

static weft_status check_model(weft_lowering *l) {
  if (l->model->ir_version < 3)
    return weft_fail(l->error, WEFT_UNSUPPORTED,
                     "the model has IR version %lld; supported are 3 and newer",
                     (long long)l->model->ir_version);
  if (!l->model->graph) return weft_fail(l->error, WEFT_INVALID_MODEL, "the model has no graph");
  if (l->model->opset_count == 0)
    return weft_fail(l->error, WEFT_INVALID_MODEL, "the model imports no operator set");
  WEFT_TRY(check_opsets(l, l->model->opsets, l->model->opset_count));
  return index_functions(l);
}

/* ---- what users may ask about the file ------------------------------------------------------- */

static weft_status describe(weft_lowering *l) {
  const weft_onnx_model *model = l->model;
  weft_file *file = l->file;
  weft_arena *arena = &l->graph->arena;
  file->producer = weft_arena_copy(arena, model->producer_name);
  file->producer_version = weft_arena_copy(arena, model->producer_version);
  file->domain = weft_arena_copy(arena, model->domain);
  file->graph_name = weft_arena_copy(arena, model->graph->name);
  file->description = weft_arena_copy(arena, model->doc_string);
  file->ir_version = model->ir_version;
  file->model_version = model->model_version;
  file->opset = version_of(model->opsets, model->opset_count, WEFT_STR(""));
  file->metadata = WEFT_ARENA_ARRAY(arena, weft_metadata_entry, model->metadata_count);
  if (!file->description.data || !file->metadata) return weft_lowering_no_memory(l);
  for (uint32_t i = 0; i < model->metadata_count; ++i) {
    weft_metadata_entry *entry = &file->metadata[file->metadata_count++];
    entry->key = weft_arena_copy(arena, model->metadata[i].key);
    entry->value = weft_arena_copy(arena, model->metadata[i].value);
    if (!entry->key.data || !entry->value.data) return weft_lowering_no_memory(l);
  }
  return weft_lowering_count_nodes(l, &file->node_count);
}

static weft_status lower(weft_lowering *l) {
  WEFT_TRY(check_model(l));
  if (!weft_onnx_index_rows(&l->operators, &l->scratch)) return weft_lowering_no_memory(l);
  WEFT_TRY(describe(l));
  WEFT_TRY(push_main(l));
  while (l->depth > 0) WEFT_TRY(step(l));
  return weft_graph_verify(l->graph, l->error);
}

weft_status weft_onnx_lower(const weft_onnx_model *model, weft_heap *heap, weft_file *out,
                            weft_error *error) {
  *out = (weft_file){0};
  weft_lowering l = {
      .model = model, .heap = heap, .graph = &out->graph, .file = out, .error = error};
  weft_status status = weft_graph_init(&out->graph, heap, error);
  l.inference = weft_inference_at_load(&out->graph);
  weft_heap scratch_heap; /* so that no small file can take all memory by calling functions */
  weft_heap_init(&scratch_heap, NULL, heap, WEFT_MAX_LOWERING_BYTES);
  weft_arena_init(&l.scratch, &scratch_heap);
  if (status == WEFT_OK) status = lower(&l);
  weft_arena_release(&l.scratch);
  if (status == WEFT_OK) return WEFT_OK;
  weft_graph_release(&out->graph);
  *out = (weft_file){0};
  return status;
}
