/* model_build.h - for tests of the whole: small ONNX models as bytes, in the decomposed form that
 * exporters write. */
#ifndef WEFT_TESTS_MODEL_BUILD_H
#define WEFT_TESTS_MODEL_BUILD_H

#include <stdio.h>

#include "tests/check.h"
#include "tests/proto.h"
#include "weft/weft.h"

/* Appends a node: names of inputs and outputs separated by spaces; `attributes` is a ready run of
 * AttributeProto fields, or NULL. */
static inline void build_node(proto *graph, const char *op, const char *inputs, const char *outputs,
                              proto *attributes) {
  proto node = {0};
  const char *lists[] = {inputs, outputs};
  for (uint32_t field = 1; field <= 2; field++) {
    for (const char *at = lists[field - 1]; *at;) {
      size_t length = strcspn(at, " ");
      proto_bytes(&node, field, at, length);
      at += length + (at[length] == ' ');
    }
  }
  proto_text(&node, 3, outputs);
  proto_text(&node, 4, op);
  if (attributes) proto_raw(&node, attributes->bytes, attributes->length);
  if (attributes) proto_free(attributes);
  proto_add(graph, 1, &node);
}

/* An attribute of integers. */
static inline proto build_ints(const char *name, size_t count, const int64_t *ints) {
  proto attribute = {0}, attributes = {0};
  proto_text(&attribute, 1, name);
  for (size_t i = 0; i < count; i++) proto_varint(&attribute, 8, ints[i]);
  proto_varint(&attribute, 20, 7);
  proto_add(&attributes, 5, &attribute);
  return attributes;
}

static inline void build_initializer(proto *graph, const char *name, weft_dtype dtype, size_t rank,
                                     const int64_t *dims, const void *data, size_t bytes) {
  proto tensor = {0};
  for (size_t i = 0; i < rank; i++) proto_varint(&tensor, 1, dims[i]);
  proto_varint(&tensor, 2, (int64_t)dtype);
  proto_text(&tensor, 8, name);
  proto_bytes(&tensor, 9, data, bytes);
  proto_add(graph, 5, &tensor);
}

/* Numbers in [-0.5, 0.5), f32 or f16, that depend on the name only. */
static inline void build_weight_of(proto *graph, const char *name, weft_dtype dtype, size_t rank,
                                   const int64_t *dims) {
  size_t count = 1;
  uint32_t state = 1;
  for (size_t i = 0; i < rank; i++) count *= (size_t)dims[i];
  for (const char *c = name; *c; c++) state = state * 31 + (uint32_t)*c;
  float *data = malloc(count * sizeof *data + 1);
  if (!data) abort();
  for (size_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    data[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    uint16_t half = check_f16(data[i]);
    if (dtype == WEFT_F16) memcpy((uint8_t *)data + 2 * i, &half, sizeof half);
  }
  build_initializer(graph, name, dtype, rank, dims, data, count * weft_dtype_size(dtype));
  free(data);
}

static inline void build_weight(proto *graph, const char *name, size_t rank, const int64_t *dims) {
  build_weight_of(graph, name, WEFT_F32, rank, dims);
}

static inline void build_scalar(proto *graph, const char *name, float value) {
  build_initializer(graph, name, WEFT_F32, 0, NULL, &value, sizeof value);
}

/* An input (field 11) or output (field 12) with dims by comma: "batch,tokens,8". */
static inline void build_value_of(proto *graph, uint32_t field, const char *name, weft_dtype dtype,
                                  const char *dims) {
  proto shape = {0}, tensor = {0}, type = {0}, info = {0};
  for (const char *at = dims; *at;) {
    size_t length = strcspn(at, ",");
    proto dim = {0};
    if (*at >= '0' && *at <= '9')
      proto_varint(&dim, 1, strtoll(at, NULL, 10));
    else
      proto_bytes(&dim, 2, at, length);
    proto_add(&shape, 1, &dim);
    at += length + (at[length] == ',');
  }
  proto_varint(&tensor, 1, (int64_t)dtype);
  proto_add(&tensor, 2, &shape);
  proto_add(&type, 1, &tensor);
  proto_text(&info, 1, name);
  proto_add(&info, 2, &type);
  proto_add(graph, field, &info);
}

static inline void build_value(proto *graph, uint32_t field, const char *name, const char *dims) {
  build_value_of(graph, field, name, WEFT_F32, dims);
}

static inline proto build_model(proto *graph) {
  proto model = {0}, opset = {0};
  proto_text(graph, 2, "test");
  proto_varint(&model, 1, 8);
  proto_text(&model, 2, "tests");
  proto_varint(&opset, 2, 17);
  proto_add(&model, 7, graph);
  proto_add(&model, 8, &opset);
  return model;
}

/* q, k and v of two heads of 4: matmul, bias, reshape, transpose. */
static inline void build_projection(proto *g, const char *name, const int64_t *permutation) {
  static const int64_t square[] = {8, 8}, vector[] = {8};
  char weight[8], bias[8], product[8], sum[8], heads[8], turned[8], pair[24];
  snprintf(weight, sizeof weight, "w%s", name);
  snprintf(bias, sizeof bias, "b%s", name);
  snprintf(product, sizeof product, "p%s", name);
  snprintf(sum, sizeof sum, "s%s", name);
  snprintf(heads, sizeof heads, "r%s", name);
  snprintf(turned, sizeof turned, "t%s", name);
  build_weight(g, weight, 2, square);
  build_weight(g, bias, 1, vector);
  snprintf(pair, sizeof pair, "x %s", weight);
  build_node(g, "MatMul", pair, product, NULL);
  snprintf(pair, sizeof pair, "%s %s", product, bias);
  build_node(g, "Add", pair, sum, NULL);
  snprintf(pair, sizeof pair, "%s split", sum);
  build_node(g, "Reshape", pair, heads, NULL);
  proto axes = build_ints("perm", 4, permutation);
  build_node(g, "Transpose", heads, turned, &axes);
}

/* x -> residual */
static inline void build_attention(proto *g) {
  static const int64_t heads_first[] = {0, 2, 1, 3}, keys[] = {0, 2, 3, 1}, square[] = {8, 8};
  static const int64_t split[] = {0, 0, 2, 4}, join[] = {0, 0, 8}, four[] = {4}, three[] = {3};
  build_initializer(g, "split", WEFT_I64, 1, four, split, sizeof split);
  build_initializer(g, "join", WEFT_I64, 1, three, join, sizeof join);
  build_projection(g, "q", heads_first);
  build_projection(g, "k", keys);
  build_projection(g, "v", heads_first);
  build_scalar(g, "root", 2);
  build_node(g, "MatMul", "tq tk", "product", NULL);
  build_node(g, "Div", "product root", "scores", NULL);
  build_node(g, "Softmax", "scores", "weights", NULL);
  build_node(g, "MatMul", "weights tv", "context", NULL);
  proto axes = build_ints("perm", 4, heads_first);
  build_node(g, "Transpose", "context", "context_t", &axes);
  build_node(g, "Reshape", "context_t join", "context_r", NULL);
  build_weight(g, "wo", 2, square);
  build_node(g, "MatMul", "context_r wo", "attended", NULL);
  build_node(g, "Add", "attended x", "residual", NULL);
}

/* residual -> hidden, with GELU by erf */
static inline void build_feed_forward(proto *g) {
  static const int64_t wide[] = {8, 16}, narrow[] = {16, 8}, wide_vector[] = {16};
  build_weight(g, "w1", 2, wide);
  build_weight(g, "b1", 1, wide_vector);
  build_weight(g, "w2", 2, narrow);
  build_scalar(g, "sqrt2", 1.41421356f);
  build_scalar(g, "one", 1);
  build_scalar(g, "half", 0.5f);
  build_node(g, "MatMul", "residual w1", "up", NULL);
  build_node(g, "Add", "up b1", "biased", NULL);
  build_node(g, "Div", "biased sqrt2", "scaled", NULL);
  build_node(g, "Erf", "scaled", "erf", NULL);
  build_node(g, "Add", "erf one", "erf1", NULL);
  build_node(g, "Mul", "biased erf1", "gated", NULL);
  build_node(g, "Mul", "gated half", "gelu", NULL);
  build_node(g, "MatMul", "gelu w2", "down", NULL);
  build_node(g, "Add", "down residual", "hidden", NULL);
}

/* hidden -> y */
static inline void build_layer_norm(proto *g) {
  static const int64_t last[] = {-1}, vector[] = {8};
  build_weight(g, "gamma", 1, vector);
  build_weight(g, "beta", 1, vector);
  build_scalar(g, "epsilon", 1e-5f);
  build_scalar(g, "two", 2);
  proto mean = build_ints("axes", 1, last), variance = build_ints("axes", 1, last);
  build_node(g, "ReduceMean", "hidden", "mean", &mean);
  build_node(g, "Sub", "hidden mean", "centred", NULL);
  build_node(g, "Pow", "centred two", "square", NULL);
  build_node(g, "ReduceMean", "square", "variance", &variance);
  build_node(g, "Add", "variance epsilon", "above", NULL);
  build_node(g, "Sqrt", "above", "deviation", NULL);
  build_node(g, "Div", "centred deviation", "normal", NULL);
  build_node(g, "Mul", "normal gamma", "stretched", NULL);
  build_node(g, "Add", "stretched beta", "y", NULL);
}

/* A block of an encoder, x [batch,tokens,8] -> y [batch,tokens,8], with two heads of 4, as
 * exporters write it out: every rewrite finds something to do. `hidden` is its second output,
 * before the last normalisation. */
static inline proto build_encoder(void) {
  proto g = {0};
  build_attention(&g);
  build_feed_forward(&g);
  build_layer_norm(&g);
  build_value(&g, 11, "x", "batch,tokens,8");
  build_value(&g, 12, "y", "batch,tokens,8");
  build_value(&g, 12, "hidden", "batch,tokens,8");
  return build_model(&g);
}

#endif
