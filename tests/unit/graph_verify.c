/* Tests of the verifier: a good graph, broken in one way per case, with the exact message. */
#include "tests/unit/graph_build.h"

/* x f32[b,4] times w (constant 4x2) gives %p; an `if` on c gives p or, through a transpose of p,
 * its double (region 2); s is a known list. Values: 0 x, 1 w, 2 c, 3 s, 4 p, 5 if's output, 6
 * transpose's, 7 sum's. Nodes: 0 matmul, 1 if, 2 transpose, 3 add. */
enum { X, W, C, S, P, OUT, TURNED, SUM };
enum { MATMUL, IF, TRANSPOSE, ADD };

static void build(fixture *f) {
  fixture_open(f);
  weft_graph *g = &f->graph;
  weft_value_id x = tensor(f, "f32[b,4]"), w, c, s;
  weft_buffer *data = weft_buffer_new(&f->heap, 32);
  memset(data->data, 0, 32);
  CHECK_OK(weft_graph_add_constant(g, WEFT_STR("w"), WEFT_F32, &(weft_shape){2, {4, 2}}, data, &w,
                                   &f->error),
           &f->error);
  c = tensor(f, "bool[]");
  CHECK_OK(weft_graph_add_integers(g, WEFT_STR("s"), (int64_t[]){1, -1}, 2, &s, &f->error),
           &f->error);
  weft_value_id p = add_node(f, 0, WEFT_OP_MATMUL, IDS(x, w), NULL)->outputs[0];
  mark_output(f, 0, add_node(f, 0, WEFT_OP_IF, IDS(c), NULL)->outputs[0]);
  uint32_t branches[2];
  for (int i = 0; i < 2; i++) {
    CHECK_OK(weft_graph_add_region(g, 0, &branches[i], &f->error), &f->error);
  }
  g->nodes[IF].attributes.branches.then_region = branches[0];
  g->nodes[IF].attributes.branches.else_region = branches[1];
  mark_output(f, branches[0], p);
  weft_attributes transpose = {.view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {2, {0, 1}}}};
  weft_value_id turned = add_node(f, branches[1], WEFT_OP_VIEW, IDS(p), &transpose)->outputs[0];
  weft_attributes add = {0};
  CHECK_OK(weft_graph_simple_expr(g, WEFT_EXPR_ADD, (weft_dtype[]){WEFT_F32, WEFT_F32}, 2, WEFT_F32,
                                  &add.map.expr, &f->error),
           &f->error);
  mark_output(f, branches[1],
              add_node(f, branches[1], WEFT_OP_MAP, IDS(turned, turned), &add)->outputs[0]);
  CHECK_OK(weft_infer_graph(g, &f->error), &f->error);
}

static void test_good(void) {
  fixture f;
  build(&f);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  f.graph.values[W].layout = WEFT_LAYOUT_PANELS; /* of whatever size */
  f.graph.values[W].data->bytes -= 4;
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  f.graph.values[W].data->bytes += 4;
  fixture_close(&f);
}

/* Builds, runs `breaks` (statements on f, g, v = values, n = nodes, r = regions), expects. */
#define BROKEN(expected, ...)                                                                      \
  do {                                                                                             \
    fixture f;                                                                                     \
    build(&f);                                                                                     \
    weft_graph *g = &f.graph;                                                                      \
    weft_value *v = g->values;                                                                     \
    weft_node *n = g->nodes;                                                                       \
    weft_region *r = g->regions;                                                                   \
    (void)v, (void)n, (void)r;                                                                     \
    __VA_ARGS__;                                                                                   \
    CHECK_INT(weft_graph_verify(g, &f.error), WEFT_INVALID_MODEL);                                 \
    CHECK_TEXT(f.error.message, expected);                                                         \
    fixture_close(&f);                                                                             \
  } while (0)

static void test_values(void) {
  BROKEN("value '' has no name", v[X].name.length = 0);
  BROKEN("value 'w' is of no known kind", v[W].kind = (weft_value_kind)9);
  BROKEN("value 'value_0' has no type", v[X].dtype = WEFT_DTYPE_NONE);
  BROKEN("value 'w' has data, but is no constant", v[W].kind = WEFT_VALUE_INPUT);
  BROKEN("value 'value_0' has a producer, but is not computed", v[X].producer = 0);
  BROKEN("value 'value_0' has a rank above 8", v[X].shape.rank = 9);
  BROKEN("value 'value_0' has a dimension that is neither an extent nor a symbol",
         v[X].shape.dims[0] = -1);
  BROKEN("value 'value_0' has a dimension that is neither an extent nor a symbol",
         v[X].shape.dims[0] = WEFT_DIM_SYMBOL(g->symbol_count));
  BROKEN("value 'value_0' has a dimension that is neither an extent nor a symbol",
         v[X].shape.dims[0] = WEFT_DIM_UNKNOWN);
  BROKEN("value 'value_0' has more elements than the limit", v[X].shape.dims[1] = INT64_MAX);
  BROKEN("value 'value_0' has known elements, but is no small list of integers",
         v[X].elements = v[S].elements);
  BROKEN("value 's' has known elements, but is no small list of integers",
         v[S].shape.dims[0] = WEFT_MAX_HOST_ELEMENTS + 1);
  BROKEN("value 's' has an element that is no symbol of the graph",
         v[S].elements[0] = WEFT_DIM_SYMBOL(g->symbol_count));
}

static void test_constants(void) {
  BROKEN("value 'w' is a constant whose shape is not fixed",
         v[W].shape.dims[0] = v[X].shape.dims[0]);
  BROKEN("value 'w' is a constant with another number of bytes than its shape says",
         v[W].shape.dims[0] = 5);
  BROKEN("value 'w' is a constant with another number of bytes than its shape says",
         v[W].dtype = WEFT_STRING);
  BROKEN("value 'w' is a constant with another number of bytes than its shape says",
         v[W].dtype = WEFT_F16);
  BROKEN("node 'n' (Op): input 1 is not made before it is used", weft_buffer_release(&v[W].data));
}

static void test_producers(void) {
  BROKEN("value 'value_4' has no producer", v[P].producer = 99);
  BROKEN("value 'value_4' is no output of the node that it names as its producer",
         v[P].producer = ADD);
  BROKEN("value 'value_4' is no output of the node that it names as its producer",
         n[MATMUL].removed = true);
  BROKEN("node 'n' (Op): has an output that is made elsewhere", v[P].producer = WEFT_NODE_NONE);
  BROKEN("value 'value_7' is no output of the node that it names as its producer",
         n[ADD].outputs[0] = X);
  BROKEN("value 'value_7' is no output of the node that it names as its producer",
         n[ADD].outputs[0] = P);
}

static void test_regions(void) {
  BROKEN("region 1 lies in no other region", r[1].parent = 1);
  BROKEN("region 1 lies in no other region", r[1].parent = 3);
  BROKEN("region 0 lies in no other region", r[0].parent = 1);
  BROKEN("region 0 has an input that is none", r[0].inputs[0] = W);
  BROKEN("region 0 has an input that is none", r[0].inputs[0] = 99);
  BROKEN("value 'value_2' is an input twice", r[0].inputs[0] = C);
  BROKEN("region 0 has an output that is not there", r[0].outputs[0] = 99);
  BROKEN("region 0 lists a node that is not there", r[0].nodes[0] = 99);
  BROKEN("node 'n' (Op): stands in a region that is not its own", r[0].nodes[0] = ADD);
  BROKEN("node 'n' (Op): stands in its region twice", r[0].nodes[0] = IF);
  BROKEN("node 'n' (Op): stands in no region", r[0].nodes[0] = IF, r[0].node_count = 1);
}

static void test_nodes(void) {
  BROKEN("node '' (Op): has no name", n[ADD].name.length = 0);
  BROKEN("node 'n' (Op): is no core op", n[ADD].op = WEFT_OP_COUNT);
  BROKEN("node 'n' (Op): has 0 inputs, not 1 to 8", n[ADD].input_count = 0);
  BROKEN("node 'n' (Op): has 2 outputs, not 1 to 1", n[ADD].output_count = 2);
  BROKEN("node 'n' (Op): input 1 is missing", n[ADD].inputs[1] = WEFT_VALUE_NONE);
  BROKEN("node 'n' (Op): input 0 is missing", n[ADD].inputs[0] = 99);
  BROKEN("node 'n' (Op): its expression takes 2 inputs, the node gives 1", n[ADD].input_count = 1);
  BROKEN("node 'n' (Op): instruction 0 (and) does not take f32",
         n[ADD].attributes.map.expr.code[0].op = WEFT_EXPR_AND);
  BROKEN("node 'n' (Op): is a view of no known kind",
         n[TRANSPOSE].attributes.view.kind = (weft_view_kind)77);
  BROKEN("node 'n' (Op): names more than 8 axes", n[TRANSPOSE].attributes.view.axes.count = 9);
}

static void test_branches(void) {
  BROKEN("node 'n' (Op): has a branch that is not there",
         n[IF].attributes.branches.then_region = 0);
  BROKEN("node 'n' (Op): has a branch that is not there",
         n[IF].attributes.branches.then_region = 9);
  BROKEN("node 'n' (Op): has a branch that is another one too",
         n[IF].attributes.branches.then_region = 2);
  BROKEN("node 'n' (Op): has a branch that lies in another region", r[1].parent = 2);
  BROKEN("node 'n' (Op): has 1 outputs, but a branch with 0", r[1].output_count = 0);
  BROKEN("node 'n' (Op): has an output twice", n[IF].output_count = 2;
         r[1].output_count = r[2].output_count = 2; n[IF].outputs = (weft_value_id[]){OUT, OUT});
}

static void test_order(void) {
  BROKEN("node 'n' (Op): input 0 is not made before it is used", r[2].nodes[0] = ADD;
         r[2].nodes[1] = TRANSPOSE);
  BROKEN("node 'n' (Op): input 0 is not made before it is used", n[MATMUL].inputs[0] = OUT);
  BROKEN("node 'n' (Op): input 0 is not made before it is used", r[0].nodes[0] = IF;
         r[0].nodes[1] = MATMUL; r[1].outputs[0] = X);
  BROKEN("node 'n' (Op): input 0 is not made before it is used", r[0].input_count = 0);
  BROKEN("value 'value_6' is an output, but is not made in its region", r[0].outputs[0] = TURNED);
  BROKEN("value 'value_7' is an output, but is not made in its region", r[1].outputs[0] = SUM);
}

static void test_types(void) {
  BROKEN("node 'n' (Op): input 1 is i32, but f32 is needed", v[W].dtype = WEFT_I32);
  BROKEN("node 'n' (Op): its output is marked as f16, not f32",
         v[OUT].dtype = v[TURNED].dtype = WEFT_F16;
         n[ADD].removed = true; v[SUM].producer = WEFT_NODE_NONE; r[2].outputs[0] = TURNED);
  BROKEN("node 'n' (Op): input 0 is u8, but bool is needed", v[C].dtype = WEFT_U8);
  BROKEN("node 'n' (Op): input 0 is f16, but f32 is needed", v[TURNED].dtype = WEFT_F16;
         v[P].dtype = WEFT_F16; v[X].dtype = v[W].dtype = WEFT_F16; v[W].shape.dims[0] = 8);
}

int main(void) {
  CHECK_RUN(test_good);
  CHECK_RUN(test_values);
  CHECK_RUN(test_constants);
  CHECK_RUN(test_producers);
  CHECK_RUN(test_regions);
  CHECK_RUN(test_nodes);
  CHECK_RUN(test_branches);
  CHECK_RUN(test_order);
  CHECK_RUN(test_types);
  return check_result();
}
