/* Tests of the ONNX reader up to its structs: the protobuf decoder with ONNX's tables, tensor data
 * in every encoding and mode, external data, truncation and lack of memory. */
#include "tests/check.h"

#include "base/host.h"
#include "format/onnx_data.h"
#include "format/onnx_wire.h"
#include "tests/proto.h"

/* ---- a reader of structs -----------------------------------------------------------------------
 */

typedef struct reader {
  weft_heap heap;
  weft_arena arena;
  weft_onnx_data data;
  weft_wire wire;
  weft_onnx_model model;
  weft_error error;
} reader;

static void open_reader(reader *r, const weft_allocator *allocator, weft_payload_mode mode,
                        const weft_source *source) {
  memset(r, 0, sizeof *r);
  weft_heap_init(&r->heap, allocator, NULL, 0);
  weft_arena_init(&r->arena, &r->heap);
  bool known = source->size > 0;
  r->data = (weft_onnx_data){
      .heap = &r->heap, .arena = &r->arena, .mode = mode, .source = *source, .size_known = known};
  weft_wire_hooks hooks = weft_onnx_data_hooks(&r->data);
  weft_wire_start(&r->wire, &r->arena, &hooks, &weft_onnx_model_message, &r->model,
                  known ? source->size : UINT64_MAX);
}

static void close_reader(reader *r) {
  weft_onnx_data_release(&r->data);
  weft_arena_release(&r->arena);
  CHECK_INT(weft_heap_use(&r->heap).bytes, 0);
}

/* Feeds `file` in pieces of 1 to `most` bytes, and jumps over what is skipped in DEFER mode. */
static weft_status feed_all(reader *r, const proto *file, size_t most) {
  uint64_t random = 88172645463325252u;
  while (r->wire.offset < file->length) {
    size_t at = (size_t)r->wire.offset, left = file->length - at;
    size_t length = most > 1 ? 1 + check_random(&random) % most : 1;
    if (length > left) length = left;
    uint8_t *piece = malloc(length); /* of its exact size, so that a sanitizer sees its end */
    memcpy(piece, file->bytes + at, length);
    weft_status status = weft_wire_feed(&r->wire, piece, length, &r->error);
    free(piece);
    if (status == WEFT_OK && r->data.mode == WEFT_PAYLOAD_DEFER)
      status = weft_wire_jump(&r->wire, &r->error);
    if (status != WEFT_OK) return status;
  }
  return weft_wire_finish(&r->wire, &r->error);
}

static const proto *read_from; /* the file behind the DEFER mode's source */

static weft_status read_file(void *user, uint64_t offset, size_t length, void *to) {
  (void)user;
  memcpy(to, read_from->bytes + offset, length);
  return WEFT_OK;
}

static weft_source source_of(const proto *file, weft_payload_mode mode) {
  read_from = file;
  weft_source source = {.size = file->length};
  if (mode == WEFT_PAYLOAD_BORROW) source.bytes = file->bytes;
  if (mode == WEFT_PAYLOAD_DEFER) source.read = read_file;
  return source;
}

/* ---- a dump of structs, by the tables ----------------------------------------------------------
 */

static void dump_message(weft_text *to, const weft_wire_message *message, const uint8_t *object);

static void dump_value(weft_text *to, const weft_wire_field *field, const uint8_t *at) {
  int64_t wide;
  int32_t narrow;
  uint32_t bits;
  weft_str text;
  const uint8_t *object;
  switch (field->kind) {
  case WEFT_WIRE_I32:
    memcpy(&narrow, at, sizeof narrow);
    weft_text_add(to, "%d ", narrow);
    break;
  case WEFT_WIRE_I64:
    memcpy(&wide, at, sizeof wide);
    weft_text_add(to, "%lld ", (long long)wide);
    break;
  case WEFT_WIRE_F32:
    memcpy(&bits, at, sizeof bits);
    weft_text_add(to, "%x ", bits);
    break;
  case WEFT_WIRE_TEXT:
  case WEFT_WIRE_BLOB:
    memcpy(&text, at, sizeof text);
    weft_text_add(to, "'%.*s' ", WEFT_STR_ARGS(text));
    break;
  case WEFT_WIRE_INLINE:
    dump_message(to, field->type, at);
    break;
  case WEFT_WIRE_MESSAGE:
    object = at;
    if (field->max_count == 0) memcpy(&object, at, sizeof object);
    if (object) dump_message(to, field->type, object);
    break;
  default:
    break;
  }
}

static void dump_elements(weft_text *to, const weft_onnx_tensor *tensor) {
  if (!tensor->data) return;
  weft_text_add(to, "data %llu:", (unsigned long long)tensor->data->bytes);
  uint8_t *bytes = malloc((size_t)tensor->data->bytes + 1);
  weft_error error;
  CHECK_OK(weft_buffer_read(tensor->data, 0, tensor->data->bytes, bytes, &error), &error);
  for (uint64_t i = 0; i < tensor->data->bytes; i++) weft_text_add(to, " %x", bytes[i]);
  free(bytes);
}

static size_t value_size(const weft_wire_field *field) {
  switch (field->kind) {
  case WEFT_WIRE_I64:
    return 8;
  case WEFT_WIRE_MESSAGE:
    return field->type->size;
  case WEFT_WIRE_TEXT:
  case WEFT_WIRE_BLOB:
    return sizeof(weft_str);
  default:
    return 4;
  }
}

static void dump_field(weft_text *to, const weft_wire_field *field, const uint8_t *object) {
  weft_text_add(to, "%s ", field->name);
  if (field->flag) weft_text_add(to, "flag %d ", object[field->flag]);
  if (field->data || field->kind == WEFT_WIRE_MARK || field->kind == WEFT_WIRE_RAW) return;
  if (field->kind == WEFT_WIRE_INLINE) {
    dump_value(to, field, object);
    return;
  }
  const uint8_t *items = object + field->offset;
  uint32_t count = 1;
  if (field->max_count > 0) {
    memcpy(&items, object + field->offset, sizeof items);
    memcpy(&count, object + field->count, sizeof count);
  }
  for (uint32_t i = 0; i < count; i++) dump_value(to, field, items + i * value_size(field));
}

static void dump_message(weft_text *to, const weft_wire_message *message, const uint8_t *object) {
  weft_text_add(to, "%s {", message->name);
  for (uint32_t i = 0; i < message->field_count; i++) dump_field(to, &message->fields[i], object);
  if (message == &weft_onnx_tensor_message)
    dump_elements(to, (const weft_onnx_tensor *)(const void *)object);
  weft_text_add(to, "}\n");
}

enum { DUMP_SIZE = 1 << 20 };

static char *dump_model(const weft_onnx_model *model) {
  char *buffer = malloc(DUMP_SIZE);
  weft_text text = {.buffer = buffer, .size = DUMP_SIZE};
  dump_message(&text, &weft_onnx_model_message, (const uint8_t *)model);
  CHECK(text.length < DUMP_SIZE - 1);
  return buffer;
}

/* ---- files -------------------------------------------------------------------------------------
 */

enum { F32 = 1, U8 = 2, I8 = 3, U16 = 4, I32 = 6, I64 = 7, BOOL = 9, F16 = 10, F64 = 11, U32 = 12 };

static proto tensor_start(const char *name, int type, int64_t elements) {
  proto t = {0};
  proto_varint(&t, 1, elements);
  proto_varint(&t, 2, type);
  proto_text(&t, 8, name);
  return t;
}

/* Numbers in a field, packed or one by one. */
static void add_numbers(proto *t, uint32_t field, const int64_t *values, size_t count,
                        bool packed) {
  proto run = {0};
  for (size_t i = 0; i < count; i++) {
    if (packed)
      proto_number(&run, (uint64_t)values[i]);
    else
      proto_varint(t, field, values[i]);
  }
  if (packed) proto_add(t, field, &run);
}

static const int64_t INTS[] = {0, 1, 127, 0, 1, 100, 5};
enum { INT_COUNT = 7 };

static void add_tensors(proto *graph, uint32_t field) {
  static float floats[2000];
  for (int i = 0; i < 2000; i++) floats[i] = (float)i / 3;
  proto t = tensor_start("raw", F32, 2000); /* more than is read at once */
  proto_bytes(&t, 9, floats, sizeof floats);
  proto_add(graph, field, &t);
  t = tensor_start("small", F32, 3);
  proto_bytes(&t, 9, floats, 12);
  proto_add(graph, field, &t);
  t = tensor_start("packed", F32, 1500);
  proto_bytes(&t, 4, floats, 6000);
  proto_add(graph, field, &t);
  t = tensor_start("two runs", F32, 1502);
  proto_bytes(&t, 4, floats, 6000);
  proto_bytes(&t, 4, floats, 8);
  proto_add(graph, field, &t);
  t = tensor_start("loose", F32, 20);
  for (int i = 0; i < 20; i++) proto_fixed32(&t, 4, &floats[i]);
  proto_add(graph, field, &t);
  double wide[] = {1.5, -2.5, 1e300};
  t = tensor_start("doubles", F64, 3);
  proto_fixed64(&t, 10, &wide[0]);
  proto_bytes(&t, 10, &wide[1], 16);
  proto_add(graph, field, &t);
  static const struct {
    const char *name;
    int type;
    uint32_t field;
  } typed[] = {{"i32", I32, 5},   {"u8", U8, 5},   {"i8", I8, 5},   {"u16", U16, 5},
               {"bool", BOOL, 5}, {"f16", F16, 5}, {"i64", I64, 7}, {"u32", U32, 11}};
  for (size_t i = 0; i < sizeof typed / sizeof *typed; i++) {
    for (int packed = 0; packed < 2; packed++) {
      t = tensor_start(typed[i].name, typed[i].type, INT_COUNT);
      add_numbers(&t, typed[i].field, INTS, INT_COUNT, packed);
      proto_add(graph, field, &t);
    }
  }
  t = tensor_start("strings", 8, 2);
  proto_bytes(&t, 6, "a\0b", 3);
  proto_bytes(&t, 6, "", 0);
  proto_add(graph, field, &t);
  t = tensor_start("empty", F32, 0);
  proto_bytes(&t, 9, "", 0);
  proto_add(graph, field, &t);
  t = (proto){0}; /* the type behind the data */
  proto_bytes(&t, 4, floats, 8);
  proto_varint(&t, 2, F32);
  proto_varint(&t, 1, 2);
  proto_add(graph, field, &t);
}

static void add_value_info(proto *graph, uint32_t field, const char *name) {
  proto dim = {0}, shape = {0}, tensor = {0}, type = {0}, info = {0};
  proto_text(&dim, 2, "batch");
  proto_add(&shape, 1, &dim);
  proto_varint(&dim, 1, -1);
  proto_add(&shape, 1, &dim);
  proto_add(&shape, 1, &dim); /* an empty one */
  proto_varint(&tensor, 1, F32);
  proto_add(&tensor, 2, &shape);
  proto_add(&type, 1, &tensor);
  proto_text(&info, 1, name);
  proto_add(&info, 2, &type);
  proto_text(&info, 3, "a comment");
  proto_add(graph, field, &info);
}

static void add_attributes(proto *node) {
  proto a = {0}, list = {0};
  float f = 0.25f;
  proto_text(&a, 1, "alpha");
  proto_varint(&a, 20, 1);
  proto_fixed32(&a, 2, &f);
  proto_add(node, 5, &a);
  proto_text(&a, 1, "floats");
  proto_fixed32(&a, 7, &f);
  proto_bytes(&a, 7, "\0\0\0\0\0\0\x80\x3f", 8);
  proto_add(node, 5, &a);
  proto_text(&a, 1, "ints");
  add_numbers(&a, 8, INTS, INT_COUNT, false);
  add_numbers(&a, 8, INTS, INT_COUNT, true);
  proto_varint(&a, 3, INT64_MIN);
  proto_add(node, 5, &a);
  proto_text(&a, 1, "texts");
  proto_bytes(&a, 4, "\xff\0", 2);
  proto_text(&a, 9, "one");
  proto_text(&a, 9, "");
  proto_text(&a, 21, "outer");
  proto_add(&a, 14, &list); /* tp */
  proto_add(node, 5, &a);
  proto_text(&a, 1, "tensor");
  list = tensor_start("t", I64, INT_COUNT);
  add_numbers(&list, 7, INTS, INT_COUNT, true);
  proto_add(&a, 5, &list);
  proto_add(node, 5, &a);
}

static proto whole_model(void) {
  proto inner = {0}, node = {0}, a = {0}, graph = {0}, model = {0};
  proto_text(&node, 4, "Identity");
  proto_add(&inner, 1, &node);
  proto_text(&a, 1, "then_branch");
  proto_add(&a, 6, &inner);
  proto_text(&node, 1, "x");
  proto_text(&node, 1, "");
  proto_text(&node, 2, "y");
  proto_text(&node, 3, "kn\xc3\xb6t");
  proto_add(&node, 5, &a);
  add_attributes(&node);
  proto_add(&graph, 1, &node);
  proto_add(&graph, 1, &node); /* an empty one */
  add_tensors(&graph, 5);
  add_value_info(&graph, 11, "x");
  add_value_info(&graph, 12, "y");
  proto_text(&graph, 1000, "an unknown field");
  proto_varint(&graph, 1001, 5);
  proto_fixed64(&graph, 1002, "12345678");

  proto_varint(&model, 1, 10);
  proto_text(&model, 2, "the producer");
  proto_add(&model, 7, &graph);
  proto_text(&graph, 2, "merged into the first");
  proto_add(&model, 7, &graph);
  proto_text(&a, 1, "");
  proto_varint(&a, 2, 21);
  proto_add(&model, 8, &a);
  proto_add_entry(&model, 14, "key", "value");
  proto_text(&a, 1, "Function");
  proto_text(&a, 4, "in");
  proto_text(&a, 6, "alpha");
  proto_text(&node, 4, "Relu");
  proto_add(&a, 7, &node);
  proto_add(&model, 25, &a);
  proto_text(&model, 2, "the producer, once more"); /* the last one holds */
  return model;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void test_pieces(void) {
  static const weft_payload_mode modes[] = {WEFT_PAYLOAD_COPY, WEFT_PAYLOAD_COPY,
                                            WEFT_PAYLOAD_BORROW, WEFT_PAYLOAD_DEFER};
  weft_allocator allocator = weft_host_allocator();
  proto file = whole_model();
  char *expected = NULL;
  reader r;
  for (int mode = 0; mode < 4; mode++) {
    static const size_t most[] = {1 << 30, 1, 7, 300, 9000};
    for (int pieces = 0; pieces < 5; pieces++) {
      weft_source source = source_of(&file, modes[mode]);
      if (mode == 1) source.size = 0; /* not known */
      open_reader(&r, &allocator, modes[mode], &source);
      CHECK_OK(feed_all(&r, &file, most[pieces]), &r.error);
      char *text = dump_model(&r.model);
      if (!expected)
        expected = text;
      else {
        CHECK(strcmp(text, expected) == 0);
        free(text);
      }
      close_reader(&r);
    }
  }
  free(expected);
  proto_free(&file);
}

static const weft_onnx_tensor *find_tensor(const reader *r, const char *name) {
  const weft_onnx_graph *graph = r->model.graph;
  for (uint32_t i = 0; i < graph->initializer_count; i++)
    if (weft_str_is(graph->initializers[i].name, name)) return &graph->initializers[i];
  return NULL;
}

static void check_structure(const weft_onnx_model *model) {
  CHECK_INT(model->ir_version, 10);
  CHECK_TEXT(model->producer_name.data, "the producer, once more");
  CHECK_TEXT(model->graph->name.data, "merged into the first");
  CHECK_INT(model->opsets[0].version, 21);
  CHECK_TEXT(model->metadata[0].value.data, "value");
  CHECK_TEXT(model->functions[0].nodes[0].op_type.data, "Relu");
  CHECK_INT(model->graph->node_count, 2);
  const weft_onnx_node *node = &model->graph->nodes[0];
  CHECK_TEXT(node->name.data, "kn\xc3\xb6t");
  CHECK_INT(node->input_count, 2);
  CHECK_INT(node->inputs[1].length, 0);
  CHECK_INT(node->attribute_count, 6);
  CHECK_TEXT(node->attributes[0].g->nodes[0].op_type.data, "Identity");
  CHECK(node->attributes[1].f == 0.25f);
  CHECK_INT(node->attributes[2].float_count, 3);
  CHECK(node->attributes[2].floats[2] == 1.0f);
  CHECK_INT(node->attributes[3].int_count, 2 * INT_COUNT);
  CHECK_INT(node->attributes[3].ints[INT_COUNT + 5], 100);
  CHECK_INT(node->attributes[3].i, INT64_MIN);
  CHECK(node->attributes[4].has_other && !node->attributes[3].has_other);
  CHECK_TEXT(node->attributes[4].reference.data, "outer");
  CHECK_INT(node->attributes[5].t->data->bytes, 8 * INT_COUNT);
  const weft_onnx_value_info *info = &model->graph->inputs[0];
  CHECK(info->is_tensor && info->has_shape && !info->is_other);
  CHECK_INT(info->dim_count, 3);
  CHECK_TEXT(info->dims[0].parameter.data, "batch");
  CHECK(info->dims[1].has_value && info->dims[1].value == -1 && !info->dims[2].has_value);
}

static void test_structs(void) {
  weft_allocator allocator = weft_host_allocator();
  proto file = whole_model();
  reader r;
  weft_source source = source_of(&file, WEFT_PAYLOAD_BORROW);
  open_reader(&r, &allocator, WEFT_PAYLOAD_BORROW, &source);
  CHECK_OK(feed_all(&r, &file, file.length), &r.error);
  check_structure(&r.model);

  const weft_onnx_tensor *raw = find_tensor(&r, "raw");
  CHECK(raw->data->data > file.bytes && raw->data->data < file.bytes + file.length);
  static const uint8_t bools[] = {0, 1, 1, 0, 1, 1, 1};
  CHECK(memcmp(find_tensor(&r, "bool")->data->data, bools, sizeof bools) == 0);
  static const uint8_t bytes[] = {0, 1, 127, 0, 1, 100, 5};
  CHECK(memcmp(find_tensor(&r, "i8")->data->data, bytes, sizeof bytes) == 0);
  static const uint16_t halves[] = {0, 1, 127, 0, 1, 100, 5};
  CHECK(memcmp(find_tensor(&r, "f16")->data->data, halves, sizeof halves) == 0);
  CHECK_INT(find_tensor(&r, "u32")->data->bytes, 4 * INT_COUNT);
  CHECK(memcmp(find_tensor(&r, "i64")->data->data, INTS, sizeof INTS) == 0);
  CHECK_INT(find_tensor(&r, "two runs")->data->bytes, 6008);
  CHECK_INT(find_tensor(&r, "strings")->strings[0].length, 3);
  close_reader(&r);
  proto_free(&file);
}

/* What is deferred takes no memory, what is copied takes its size once. */
static void test_memory(void) {
  weft_allocator allocator = weft_host_allocator();
  enum { WEIGHT = 8 << 20 };
  proto weight = {.bytes = calloc(1, WEIGHT), .length = WEIGHT, .capacity = WEIGHT};
  proto t = tensor_start("w", F32, WEIGHT / 4), graph = {0}, file = {0};
  proto_add(&t, 9, &weight);
  proto_add(&graph, 5, &t);
  proto_add(&file, 7, &graph);
  for (int mode = 0; mode < 3; mode++) {
    reader r;
    weft_source source = source_of(&file, (weft_payload_mode)mode);
    open_reader(&r, &allocator, (weft_payload_mode)mode, &source);
    CHECK_OK(feed_all(&r, &file, 1 << 16), &r.error);
    uint64_t most = mode == WEFT_PAYLOAD_COPY ? WEIGHT : 0;
    CHECK(weft_heap_use(&r.heap).bytes_peak <= most + (16 << 10));
    close_reader(&r);
  }
  proto_free(&file);
}

/* A length that the file does not keep. */
static void test_lying_length(void) {
  weft_allocator allocator = weft_host_allocator();
  proto t = tensor_start("w", F32, 1), graph = {0}, file = {0};
  proto_number(&t, 9 << 3 | 2);
  proto_number(&t, 1ull << 40);
  proto_number(&graph, 5 << 3 | 2);
  proto_number(&graph, (1ull << 40) + t.length);
  proto_number(&file, 7 << 3 | 2);
  proto_number(&file, (1ull << 40) + t.length + graph.length);
  proto_raw(&file, graph.bytes, graph.length);
  proto_raw(&file, t.bytes, t.length);
  reader r;
  weft_source unknown = {0};
  open_reader(&r, &allocator, WEFT_PAYLOAD_COPY, &unknown);
  CHECK_INT(feed_all(&r, &file, 100), WEFT_INVALID_MODEL);
  CHECK_TEXT(r.error.message, "the file ends at byte 28, inside of TensorProto");
  CHECK(weft_heap_use(&r.heap).bytes_peak < 32 << 20);
  close_reader(&r);

  weft_source known = {.size = file.length};
  open_reader(&r, &allocator, WEFT_PAYLOAD_COPY, &known);
  CHECK_INT(feed_all(&r, &file, 100), WEFT_INVALID_MODEL);
  CHECK_TEXT(r.error.message, "byte 0, ModelProto.graph: 1099511627797 bytes do not fit before "
                              "the end at byte 28");
  close_reader(&r);
  proto_free(&t);
  proto_free(&graph);
  proto_free(&file);
}

/* Every prefix is refused, in any pieces, but those that end between two fields of the model. */
static void test_truncation(void) {
  weft_allocator allocator = weft_host_allocator();
  proto file = whole_model();
  unsigned whole = 0;
  for (size_t length = 0; length < file.length; length += length < 600 ? 1 : 37) {
    for (int known = 0; known < 2; known++) {
      proto cut = {.bytes = file.bytes, .length = length};
      weft_source source = {.size = known ? length : 0};
      reader r;
      open_reader(&r, &allocator, WEFT_PAYLOAD_COPY, &source);
      weft_status status = feed_all(&r, &cut, 5000);
      CHECK(status == WEFT_OK || status == WEFT_INVALID_MODEL);
      whole += status == WEFT_OK;
      close_reader(&r);
    }
  }
  CHECK_INT(whole, 2 * 3); /* nothing, the version, the producer */
  proto_free(&file);
}

typedef struct budget {
  weft_allocator host;
  int left;
} budget;

static void *limited_allocate(void *user, size_t bytes, size_t alignment) {
  budget *b = user;
  return b->left-- > 0 ? b->host.allocate(b->host.user, bytes, alignment) : NULL;
}

static void limited_release(void *user, void *memory, size_t bytes) {
  budget *b = user;
  b->host.release(b->host.user, memory, bytes);
}

static void test_no_memory(void) {
  proto file = whole_model();
  for (int mode = 0; mode < 3; mode++) {
    weft_status status = WEFT_OUT_OF_MEMORY;
    int allocations = 0;
    for (; status != WEFT_OK && allocations < 1000; allocations++) {
      budget b = {weft_host_allocator(), allocations};
      weft_allocator allocator = {limited_allocate, limited_release, &b};
      reader r;
      weft_source source = source_of(&file, (weft_payload_mode)mode);
      open_reader(&r, &allocator, (weft_payload_mode)mode, &source);
      status = feed_all(&r, &file, 1000);
      CHECK(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
      close_reader(&r);
    }
    CHECK(allocations > 20 && allocations < 1000);
  }
  proto_free(&file);
}

/* ---- external data -----------------------------------------------------------------------------
 */

typedef struct store {
  unsigned calls;
  weft_status answer;
  weft_source source;
  char asked[64];
} store;

static weft_status resolve(void *user, const char *location, weft_source *out) {
  store *s = user;
  s->calls++;
  strncpy(s->asked, location, sizeof s->asked - 1);
  *out = s->source;
  return s->answer;
}

static void add_external(proto *graph, const char *name, const char *location, const char *offset,
                         const char *length) {
  proto t = tensor_start(name, F32, 4);
  proto_varint(&t, 14, 1);
  if (location) proto_add_entry(&t, 13, "location", location);
  if (offset) proto_add_entry(&t, 13, "offset", offset);
  if (length) proto_add_entry(&t, 13, "length", length);
  proto_add_entry(&t, 13, "checksum", "0123");
  proto_add(graph, 5, &t);
}

static weft_status read_external(reader *r, proto *graph, store *s) {
  weft_allocator allocator = weft_host_allocator();
  proto file = {0};
  proto_add(&file, 7, graph);
  weft_source source = {.size = file.length};
  weft_model_options options = {.resolve = s ? resolve : NULL, .resolve_user = s};
  open_reader(r, &allocator, WEFT_PAYLOAD_COPY, &source);
  weft_status status = feed_all(r, &file, 10);
  if (status == WEFT_OK) status = weft_onnx_external_resolve(&r->data, &options, &r->error);
  proto_free(&file);
  return status;
}

static void test_external(void) {
  float floats[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  proto behind = {.bytes = (uint8_t *)floats, .length = sizeof floats};
  for (int mode = 1; mode <= 2; mode++) {
    store s = {.source = source_of(&behind, mode == 1 ? WEFT_PAYLOAD_BORROW : WEFT_PAYLOAD_DEFER)};
    s.source.size = sizeof floats;
    proto graph = {0};
    add_external(&graph, "a", "weights/model.bin", "16", "16");
    add_external(&graph, "b", "weights/model.bin", NULL, NULL);
    reader r;
    CHECK_OK(read_external(&r, &graph, &s), &r.error);
    CHECK_INT(s.calls, 1);
    CHECK_TEXT(s.asked, "weights/model.bin");
    CHECK(memcmp(find_tensor(&r, "a")->data->data, &floats[4], 16) == 0);
    CHECK(memcmp(find_tensor(&r, "b")->data->data, &floats[0], 16) == 0);
    CHECK((find_tensor(&r, "a")->data->data == (uint8_t *)&floats[4]) == (mode == 1));
    close_reader(&r);
  }
}

static void test_external_refused(void) {
  static const struct {
    const char *location, *offset, *length, *cause;
    unsigned calls;
  } cases[] = {
      {NULL, NULL, NULL, "there is no location", 0},
      {"", NULL, NULL, "there is no location", 0},
      {"/etc/passwd", NULL, NULL, "the location is absolute: /etc/passwd", 0},
      {"..", NULL, NULL, "the location leaves its folder: ..", 0},
      {"a/../b", NULL, NULL, "the location leaves its folder: a/../b", 0},
      {"a/..", NULL, NULL, "the location leaves its folder: a/..", 0},
      {"a\\b", NULL, NULL, "the location has a backslash: a\\b", 0},
      {"file:b", NULL, NULL, "the location has a scheme or drive: file:b", 0},
      {"b", "-1", NULL, "not an offset: -1", 0},
      {"b", "", NULL, "not an offset: ", 0},
      {"b", "18446744073709551616", NULL, "not an offset: 18446744073709551616", 0},
      {"b", "0", "0x10", "not a length: 0x10", 0},
      {"b", "20", NULL, "16 bytes at 20 lie outside of 'b', which has 32 bytes", 1},
      {"b", "18446744073709551615", "2",
       "2 bytes at 18446744073709551615 lie outside of 'b', which has 32 bytes", 1},
      {"...", "20", NULL, "16 bytes at 20 lie outside of '...', which has 32 bytes", 1},
  };
  float floats[8] = {0};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    store s = {.source = {.size = sizeof floats, .bytes = floats}};
    proto graph = {0};
    add_external(&graph, "w", cases[i].location, cases[i].offset, cases[i].length);
    reader r;
    CHECK_INT(read_external(&r, &graph, &s), WEFT_INVALID_MODEL);
    CHECK_TEXT(r.error.message + strlen("tensor 'w': external data: "), cases[i].cause);
    CHECK_INT(s.calls, cases[i].calls);
    close_reader(&r);
  }
}

static void test_external_not_found(void) {
  reader r;
  proto graph = {0};
  add_external(&graph, "w", "b", NULL, NULL);
  CHECK_INT(read_external(&r, &graph, NULL), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(r.error.message, "tensor 'w': external data: no resolver was given to find b");
  close_reader(&r);
  store s = {.answer = WEFT_CANCELLED};
  add_external(&graph, "w", "b", NULL, NULL);
  CHECK_INT(read_external(&r, &graph, &s), WEFT_CANCELLED);
  close_reader(&r);
  s.answer = WEFT_OK; /* but no source */
  add_external(&graph, "w", "b", NULL, NULL);
  CHECK_INT(read_external(&r, &graph, &s), WEFT_IO_ERROR);
  close_reader(&r);
}

int main(void) {
  CHECK_RUN(test_pieces);
  CHECK_RUN(test_structs);
  CHECK_RUN(test_memory);
  CHECK_RUN(test_lying_length);
  CHECK_RUN(test_truncation);
  CHECK_RUN(test_no_memory);
  CHECK_RUN(test_external);
  CHECK_RUN(test_external_refused);
  CHECK_RUN(test_external_not_found);
  return check_result();
}
