/* Tests of opt/fuse_cached.c: which attention takes in its appends and rotary embeddings, and what
 * the new node reads. That it computes the same is tested on GPUs (tests/gpu/attention_cached.c,
 * tests/models/gpu.py). */
#include "tests/unit/opt_build.h"

typedef struct form {
  bool rotary, by_position, interleaved, other_angles, one_turned; /* q and k; of q alone */
  bool total, sliced, longer, lengths, lengths_once;
  bool computed_past, read_past, read_present, read_turned, same_cache;
  bool refused, no_device;
} form;

static bool runs(void *user, const weft_graph *graph, const weft_node *node) {
  (void)graph;
  CHECK_INT(node->op, WEFT_OP_CACHED_ATTENTION);
  CHECK_INT(node->output_count, 1);
  return !((const form *)user)->refused;
}

/* The values that the node should have for inputs. */
typedef struct model {
  weft_value_id q, k, v, past[2], present[2], total, lengths, cosines, sines, positions, y;
} model;

static weft_value_id turn(fixture *f, const form *a, const model *m, weft_value_id x) {
  weft_attributes attributes = {.rotary = {.interleaved = a->interleaved}};
  weft_value_id cosines = m->cosines;
  if (!a->rotary || (a->one_turned && x == m->k)) return x;
  if (a->other_angles && x == m->k) cosines = m->sines;
  return op_add_node(f, WEFT_OP_ROTARY, IDS(x, cosines, m->sines, m->positions), &attributes);
}

static weft_value_id append(fixture *f, const form *a, model *m, int i, weft_value_id added) {
  weft_value_id past = a->same_cache && i ? m->past[0] : tensor(f, "f32[b,2,p,8]");
  m->past[i] = a->computed_past ? op_unary(f, NEG, past) : past;
  weft_value_id lengths = a->lengths_once ? NONE : m->lengths;
  m->present[i] = op_add_node(f, WEFT_OP_APPEND, IDS(m->past[i], added, m->total, lengths), NULL);
  mark_output(f, 0, m->present[i]);
  if (!a->sliced) return m->present[i];
  return op_slice(f, m->present[i], 2, 0, a->longer ? 13 : 12, 1);
}

static void build(fixture *f, const form *a, model *m) {
  *m = (model){.total = NONE, .lengths = NONE, .positions = NONE};
  m->q = tensor(f, "f32[b,4,3,8]");
  m->k = tensor(f, "f32[b,2,3,8]");
  m->v = tensor(f, "f32[b,2,3,8]");
  m->cosines = tensor(f, a->by_position ? "f32[50,4]" : "f32[1,3,4]");
  m->sines = tensor(f, a->by_position ? "f32[50,4]" : "f32[1,3,4]");
  if (a->by_position) m->positions = tensor(f, "i64[b,3]");
  if (a->total) m->total = INTEGERS(f, 12);
  if (a->lengths || a->lengths_once) m->lengths = tensor(f, "i64[b]");
  weft_value_id q = turn(f, a, m, m->q), turned = turn(f, a, m, m->k);
  weft_value_id k = append(f, a, m, 0, turned), v = append(f, a, m, 1, m->v);
  weft_attributes attributes = {.attention = {.scale = 0.5f, .causal = true, .window = 7}};
  m->y = op_add_node(f, WEFT_OP_ATTENTION, IDS(q, k, v, NONE, m->lengths), &attributes);
  if (a->read_past) mark_output(f, 0, op_unary(f, NEG, m->past[0]));
  if (a->read_present) mark_output(f, 0, op_unary(f, NEG, m->present[1]));
  if (a->read_turned) mark_output(f, 0, op_unary(f, NEG, turned));
  mark_output(f, 0, m->y);
}

static void check_node(const fixture *f, const form *a, const model *m, bool turned) {
  const weft_node *node = &f->graph.nodes[f->graph.values[m->y].producer];
  bool angles = turned && a->rotary;
  weft_value_id expected[WEFT_CACHED_INPUTS] = {m->q, m->k,       m->v,       NONE,     m->lengths,
                                                NONE, m->past[0], m->past[1], m->total, m->lengths,
                                                NONE, NONE,       NONE};
  if (angles) {
    expected[WEFT_CACHED_COSINES] = m->cosines;
    expected[WEFT_CACHED_SINES] = m->sines;
    expected[WEFT_CACHED_POSITIONS] = m->positions;
  }
  CHECK_INT(node->output_count, 3);
  CHECK_INT(node->input_count, WEFT_CACHED_INPUTS);
  for (uint32_t i = 0; i < WEFT_CACHED_INPUTS; i++)
    if (turned || i > 1) CHECK_INT(node->inputs[i], expected[i]);
  for (uint32_t c = 0; c < 2; c++) {
    CHECK_INT(node->outputs[1 + c], m->present[c]);
    CHECK_INT(weft_cache_past(&f->graph, m->present[c]), m->past[c]);
  }
  CHECK(node->attributes.attention.interleaved == (angles && a->interleaved));
  CHECK(node->attributes.attention.causal && node->attributes.attention.window == 7);
}

/* Infers it again too: shapes stay. */
static void expect_at(const form *a, const char *nodes, bool turned, int line) {
  fixture f;
  fixture_open(&f);
  model m;
  char actual[1024];
  unsigned failures = check_failures;
  build(&f, a, &m);
  weft_opt_context context = {
      .heap = &f.heap, .runs_on_device = a->no_device ? NULL : runs, .user = (void *)(uintptr_t)a};
  CHECK_OK(weft_pass_fuse_cached(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  CHECK_OK(weft_infer_graph(&f.graph, &f.error), &f.error);
  CHECK_OK(weft_pass_remove_dead(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, actual, sizeof actual), nodes);
  if (f.graph.nodes[f.graph.values[m.y].producer].op == WEFT_OP_CACHED_ATTENTION)
    check_node(&f, a, &m, turned);
  if (check_failures != failures) check_print("  in the case at line %d\n", line);
  fixture_close(&f);
}
#define EXPECT(nodes, ...)          expect_at(&(form){__VA_ARGS__}, (nodes), true, __LINE__)
#define EXPECT_UNTURNED(nodes, ...) expect_at(&(form){__VA_ARGS__}, (nodes), false, __LINE__)

static void test_fused(void) {
  EXPECT("cached_attention; ", 0);
  EXPECT("cached_attention; ", .rotary = true);
  EXPECT("cached_attention; ", .rotary = true, .by_position = true);
  EXPECT("cached_attention; ", .rotary = true, .interleaved = true);
  EXPECT("cached_attention; ", .rotary = true, .total = true, .sliced = true);
  EXPECT("cached_attention; ", .total = true, .sliced = true, .lengths = true);
}

static void test_rotary_apart(void) {
  EXPECT_UNTURNED("rotary; rotary; cached_attention; ", .rotary = true, .other_angles = true);
  EXPECT_UNTURNED("rotary; cached_attention; ", .rotary = true, .one_turned = true);
  EXPECT_UNTURNED("rotary; rotary; cached_attention; neg(x0); ", .rotary = true,
                  .read_turned = true);
}

static void test_left_alone(void) {
  EXPECT("append; append; attention; ", .refused = true);
  EXPECT("append; append; attention; ", .no_device = true);
  EXPECT("append; append; attention; ", .total = true); /* which is not what it sees */
  EXPECT("append; append; attention; ", .lengths_once = true);
  EXPECT("append; slice; append; slice; attention; ", .total = true, .sliced = true,
         .longer = true);
  EXPECT("append; append; attention; neg(x0); ", .read_present = true);
  EXPECT("neg(x0); append; neg(x0); append; attention; ", .computed_past = true);
}

/* The past of another reader is copied: sessions see to that. */
static void test_past_of_others(void) {
  EXPECT("cached_attention; neg(x0); ", .read_past = true);
  EXPECT("cached_attention; ", .same_cache = true);
}

int main(void) {
  CHECK_RUN(test_fused);
  CHECK_RUN(test_rotary_apart);
  CHECK_RUN(test_left_alone);
  CHECK_RUN(test_past_of_others);
  return check_result();
}
