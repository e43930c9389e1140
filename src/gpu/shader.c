/* shader.c - writes the text of a variant: head, accessors, the file's lines, the expression. */
#include "gpu/shader.h"

#include "base/memory.h"
#include "base/str.h"
#include "base/text.h"
#include "gpu/expression.h"

/* ---- the head -------------------------------------------------------------------------------- */

static void write_enables(const weft_shader *shader, const weft_gpu_facts *facts, weft_text *text) {
  if (shader->f16) weft_text_add(text, "enable f16;\n");
  if (shader->subgroups && !facts->subgroups_implied) weft_text_add(text, "enable subgroups;\n");
  if (shader->subgroup_size) weft_text_add(text, "enable subgroup_size_control;\n");
  if (!shader->matrix) return;
  weft_text_add(text, "enable chromium_experimental_subgroup_matrix;\n"
                      "diagnostic(off, chromium.subgroup_matrix_uniformity);\n");
}

static void write_params(const weft_shader *shader, const weft_gpu_facts *facts, weft_text *text) {
  if (shader->param_words == 0) return;
  if (4 * shader->param_words <= facts->immediate_bytes)
    weft_text_add(text, "var<immediate> params: Params;\n");
  else
    weft_text_add(text, "@group(0) @binding(%u) var<uniform> params: Params;\n",
                  shader->binding_count);
}

/* ---- accessors ------------------------------------------------------------------------------- */

/* How elements of a type lie in a buffer, in WGSL. In the texts x stands for the binding's name. A
 * text is NULL where there is no such accessor. */
typedef struct accessors {
  weft_dtype dtype;
  weft_shader_raw raw;
  const char *array;      /* of x_raw */
  const char *value;      /* what an element is computed with */
  const char *get, *get4; /* expressions of i */
  const char *set, *set4; /* statements of i and v */
} accessors;

#define PART_OF(i) "x_raw[(" i ") >> 2u][(" i ") & 3u]"
#define FOUR(type)                                                                                 \
  type "(x_raw[4u * i], x_raw[4u * i + 1u], x_raw[4u * i + 2u], x_raw[4u * i + 3u])"
#define SET_FOUR(type)                                                                             \
  "x_raw[4u * i] = " type "(v.x); x_raw[4u * i + 1u] = " type "(v.y); "                            \
  "x_raw[4u * i + 2u] = " type "(v.z); x_raw[4u * i + 3u] = " type "(v.w);"
#define BYTES_GET  "(x_raw[i >> 2u] >> (8u * (i & 3u))) & 255u"
#define BYTES_GET4 "(vec4<u32>(x_raw[i]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)"
#define BYTES_SET4                                                                                 \
  "let b = vec4<u32>(v) & vec4<u32>(255u); "                                                       \
  "x_raw[i] = b.x | (b.y << 8u) | (b.z << 16u) | (b.w << 24u);"

static const accessors kinds[] = {
    {WEFT_F32, WEFT_RAW_WORDS, "array<f32>", "f32", "x_raw[i]", FOUR("vec4<f32>"), "x_raw[i] = v;",
     SET_FOUR("f32")},
    {WEFT_F32, WEFT_RAW_VEC4, "array<vec4<f32>>", "f32", PART_OF("i"), "x_raw[i]", NULL,
     "x_raw[i] = v;"},
    {WEFT_F16, WEFT_RAW_WORDS, "array<u32>", "f32", "unpack2x16float(x_raw[i >> 1u])[i & 1u]",
     "vec4<f32>(unpack2x16float(x_raw[2u * i]), unpack2x16float(x_raw[2u * i + 1u]))", NULL,
     "x_raw[2u * i] = pack_f16(v.xy); x_raw[2u * i + 1u] = pack_f16(v.zw);"},
    {WEFT_F16, WEFT_RAW_VEC4, "array<vec4<u32>>", "f32",
     "unpack2x16float(" PART_OF("i >> 1u") ")[i & 1u]",
     "vec4<f32>(unpack2x16float(" PART_OF("2u * i") "), unpack2x16float(" PART_OF(
         "2u * i + 1u") "))",
     NULL, NULL},
    {WEFT_F16, WEFT_RAW_F16, "array<f16>", "f32", "f32(x_raw[i])",
     "vec4<f32>(" FOUR("vec4<f16>") ")", "x_raw[i] = f16(v);", SET_FOUR("f16")},
    {WEFT_F16, WEFT_RAW_VEC4_F16, "array<vec4<f16>>", "f32", "f32(" PART_OF("i") ")",
     "vec4<f32>(x_raw[i])", NULL, "x_raw[i] = vec4<f16>(v);"},
    {WEFT_I32, WEFT_RAW_WORDS, "array<u32>", "i32", "i32(x_raw[i])",
     "vec4<i32>(" FOUR("vec4<u32>") ")", "x_raw[i] = u32(v);", SET_FOUR("u32")},
    {WEFT_U32, WEFT_RAW_WORDS, "array<u32>", "u32", "x_raw[i]", FOUR("vec4<u32>"), "x_raw[i] = v;",
     SET_FOUR("u32")},
    {WEFT_U32, WEFT_RAW_VEC4, "array<vec4<u32>>", "u32", PART_OF("i"), "x_raw[i]", NULL,
     "x_raw[i] = v;"},
    {WEFT_I64, WEFT_RAW_WORDS, "array<u32>", "i32", "i32(x_raw[2u * i])",
     "vec4<i32>(vec4<u32>(x_raw[8u * i], x_raw[8u * i + 2u], x_raw[8u * i + 4u], "
     "x_raw[8u * i + 6u]))",
     "x_raw[2u * i] = u32(v); x_raw[2u * i + 1u] = u32(v >> 31u);",
     "x_store(4u * i, v.x); x_store(4u * i + 1u, v.y); x_store(4u * i + 2u, v.z); "
     "x_store(4u * i + 3u, v.w);"},
    {WEFT_U16, WEFT_RAW_WORDS, "array<u32>", "u32", "(x_raw[i >> 1u] >> (16u * (i & 1u))) & 65535u",
     "(vec4<u32>(x_raw[2u * i], x_raw[2u * i], x_raw[2u * i + 1u], x_raw[2u * i + 1u]) >> "
     "vec4<u32>(0u, 16u, 0u, 16u)) & vec4<u32>(65535u)",
     NULL,
     "x_raw[2u * i] = (v.x & 65535u) | (v.y << 16u); "
     "x_raw[2u * i + 1u] = (v.z & 65535u) | (v.w << 16u);"},
    {WEFT_U8, WEFT_RAW_WORDS, "array<u32>", "u32", BYTES_GET, BYTES_GET4, NULL, BYTES_SET4},
    {WEFT_BOOL, WEFT_RAW_WORDS, "array<u32>", "u32", BYTES_GET, BYTES_GET4, NULL, BYTES_SET4},
    {WEFT_I8, WEFT_RAW_WORDS, "array<u32>", "i32",
     "extractBits(i32(x_raw[i >> 2u]), 8u * (i & 3u), 8u)",
     "(vec4<i32>(i32(x_raw[i])) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u)", NULL,
     BYTES_SET4},
    {WEFT_U8, WEFT_RAW_VEC4, "array<vec4<u32>>", "u32", NULL, NULL, NULL, NULL},
    {WEFT_I8, WEFT_RAW_VEC4, "array<vec4<u32>>", "i32", NULL, NULL, NULL, NULL},
};

static const accessors *find_accessors(const weft_shader_binding *binding) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].dtype == binding->dtype && kinds[i].raw == binding->raw) return &kinds[i];
  return NULL;
}

/* `template` with the binding's name for the x of x_raw and x_store. */
static void write_named(const char *template, const char *name, weft_text *text) {
  for (const char *c = template; *c; c++) {
    bool starts = c == template || !((c[-1] >= 'a' && c[-1] <= 'z') || c[-1] == '_');
    if (starts && c[0] == 'x' && c[1] == '_')
      weft_text_add(text, "%s", name);
    else
      weft_text_add(text, "%c", *c);
  }
}

static void write_value_function(const char *name, const char *suffix, const char *vector,
                                 const char *value, const char *body, weft_text *text) {
  if (!body) return;
  weft_text_add(text, "fn %s%s(i: u32) -> %s%s%s { return ", name, suffix, vector, value,
                *vector ? ">" : "");
  write_named(body, name, text);
  weft_text_add(text, "; }\n");
}

static void write_store_function(const char *name, const char *suffix, const char *vector,
                                 const char *value, const char *body, weft_text *text) {
  if (!body) return;
  weft_text_add(text, "fn %s%s(i: u32, v: %s%s%s) { ", name, suffix, vector, value,
                *vector ? ">" : "");
  write_named(body, name, text);
  weft_text_add(text, " }\n");
}

static weft_status write_binding(const weft_shader *shader, uint32_t index, weft_text *text,
                                 weft_error *error) {
  const weft_shader_binding *binding = &shader->bindings[index];
  const accessors *a = find_accessors(binding);
  const char *name = binding->name;
  if (!a)
    return weft_fail(error, WEFT_UNSUPPORTED, "the GPU has no such arrays of %s",
                     weft_dtype_name(binding->dtype));
  weft_text_add(text, "@group(0) @binding(%u) var<storage, %s> %s_raw: %s;\n", index,
                binding->writes ? "read_write" : "read", name, a->array);
  write_value_function(name, "", "", a->value, a->get, text);
  write_value_function(name, "4", "vec4<", a->value, a->get4, text);
  if (!binding->writes) return WEFT_OK;
  write_store_function(name, "_store", "", a->value, a->set, text);
  write_store_function(name, "4_store", "vec4<", a->value, a->set4, text);
  return WEFT_OK;
}

/* ---- the file's lines ------------------------------------------------------------------------ */

enum { NESTING_MAX = 8, INCLUDES_MAX = 16 };

/* The count of an open #for. */
typedef struct loop {
  weft_str name;
  uint32_t value;
} loop;

typedef struct expander {
  const weft_shader *shader;
  weft_text *text;
  weft_error *error;
  const char *included[INCLUDES_MAX];
  uint32_t included_count;
  loop loops[NESTING_MAX];
  uint32_t loop_count;
} expander;

static bool is_name(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static weft_str take_word(weft_str *line) {
  while (line->length && *line->data == ' ') line->data++, line->length--;
  weft_str word = {line->data, 0};
  while (word.length < line->length && line->data[word.length] != ' ') word.length++;
  line->data += word.length;
  line->length -= word.length;
  return word;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Of a number, the count of a loop, or a define. */
static uint32_t value_of(const expander *ex, weft_str name) {
  uint32_t number = 0;
  for (uint32_t i = ex->loop_count; i > 0; i--)
    if (weft_str_equal(name, ex->loops[i - 1].name)) return ex->loops[i - 1].value;
  for (uint32_t i = 0; i < ex->shader->define_count; i++)
    if (weft_str_is(name, ex->shader->defines[i].name)) return ex->shader->defines[i].value;
  for (size_t i = 0; i < name.length && is_digit(name.data[i]); i++)
    number = number * 10 + (uint32_t)(name.data[i] - '0');
  return number;
}

static weft_status bad_line(const expander *ex, const char *file, const char *what) {
  return weft_fail(ex->error, WEFT_INTERNAL, "shader %s: %s", file, what);
}

static bool is_place(weft_str line, size_t at) {
  return line.data[at] == '$' && at + 1 < line.length && line.data[at + 1] == '{';
}

static weft_str take_name(weft_str line, size_t *at) {
  weft_str name = {line.data + *at, 0};
  while (*at < line.length && is_name(line.data[*at])) name.length++, (*at)++;
  return name;
}

/* Of what may follow a name in braces: "/NAME" or "%NAME". */
static uint32_t quotient_of(const expander *ex, weft_str line, uint32_t value, size_t *at) {
  char sign = *at < line.length ? line.data[*at] : 0;
  if (sign != '/' && sign != '%') return value;
  (*at)++;
  uint32_t divisor = value_of(ex, take_name(line, at));
  if (divisor == 0) return 0;
  return sign == '/' ? value / divisor : value % divisor;
}

static void write_line(const expander *ex, weft_str line, weft_text *text) {
  for (size_t i = 0; i < line.length;) {
    size_t plain = i;
    while (i < line.length && !is_place(line, i)) i++;
    weft_text_add(text, "%.*s", (int)(i - plain), line.data + plain);
    if (i == line.length) return;
    i += 2;
    weft_str name = take_name(line, &i);
    if (weft_str_is(name, "SUBGROUP_SIZE_ATTRIBUTE")) {
      if (ex->shader->subgroup_size)
        weft_text_add(text, "@subgroup_size(%u)", ex->shader->subgroup_size);
    } else {
      weft_text_add(text, "%u", quotient_of(ex, line, value_of(ex, name), &i));
    }
    i++; /* the closing brace */
  }
}

static weft_status expand(expander *ex, const char *file, uint32_t depth);

static weft_status include(expander *ex, const char *file, weft_str name, uint32_t depth) {
  for (uint32_t i = 0; i < ex->included_count; i++)
    if (weft_str_is(name, ex->included[i])) return WEFT_OK;
  char included[48];
  if (ex->included_count == INCLUDES_MAX || name.length >= sizeof included)
    return bad_line(ex, file, "too many files included");
  memcpy(included, name.data, name.length);
  included[name.length] = 0;
  size_t length;
  const char *stored = weft_wgsl_name(included);
  if (!stored || !weft_wgsl_find(stored, &length))
    return bad_line(ex, file, "an included file does not exist");
  ex->included[ex->included_count++] = stored;
  return expand(ex, stored, depth);
}

/* ---- blocks of lines ------------------------------------------------------------------------- */

/* What is left of a file. */
typedef struct cursor {
  const char *file;
  weft_str left;
  uint32_t depth; /* of nested blocks and files */
} cursor;

typedef enum ending { END_OF_FILE, AT_ELSE, AT_END } ending;

static weft_str take_line(cursor *at) {
  weft_str line = {at->left.data, 0};
  while (line.length < at->left.length && line.data[line.length] != '\n') line.length++;
  size_t step = line.length < at->left.length ? line.length + 1 : line.length;
  at->left.data += step;
  at->left.length -= (uint32_t)step;
  return line;
}

static weft_status expand_lines(expander *ex, cursor *at, bool keeps, ending *ends);

static weft_status expand_if(expander *ex, cursor *at, weft_str rest, bool keeps) {
  char name[48]; /* may hold the count of a #for: VEC${K} */
  weft_text name_text = {.buffer = name, .size = sizeof name};
  write_line(ex, take_word(&rest), &name_text);
  weft_str compare = take_word(&rest), number = take_word(&rest);
  uint32_t value = value_of(ex, weft_str_of(name));
  bool holds = compare.length ? value == value_of(ex, number) : value != 0;
  ending ends;
  WEFT_TRY(expand_lines(ex, at, keeps && holds, &ends));
  if (ends == AT_ELSE) WEFT_TRY(expand_lines(ex, at, keeps && !holds, &ends));
  return ends == AT_END ? WEFT_OK : bad_line(ex, at->file, "#if without #end");
}

static weft_status expand_for(expander *ex, cursor *at, weft_str rest, bool keeps) {
  weft_str name = take_word(&rest);
  uint32_t count = keeps ? value_of(ex, take_word(&rest)) : 0;
  cursor body = *at;
  ending ends;
  WEFT_TRY(expand_lines(ex, at, false, &ends)); /* to its end */
  if (ends != AT_END) return bad_line(ex, at->file, "#for without #end");
  if (ex->loop_count == NESTING_MAX) return bad_line(ex, at->file, "#for nested too deep");
  loop *counter = &ex->loops[ex->loop_count++];
  for (uint32_t i = 0; i < count; i++) {
    cursor start = body;
    *counter = (loop){name, i};
    WEFT_TRY(expand_lines(ex, &start, true, &ends));
  }
  ex->loop_count--;
  return WEFT_OK;
}

/* Lines up to the #else or #end that belongs to an outer block. */
static weft_status expand_lines(expander *ex, cursor *at, bool keeps, ending *ends) {
  if (at->depth == NESTING_MAX) return bad_line(ex, at->file, "nested too deep");
  at->depth++;
  *ends = END_OF_FILE;
  while (at->left.length > 0 && *ends == END_OF_FILE) {
    weft_str line = take_line(at), rest = line, first = take_word(&rest);
    if (weft_str_is(first, "#if"))
      WEFT_TRY(expand_if(ex, at, rest, keeps));
    else if (weft_str_is(first, "#for"))
      WEFT_TRY(expand_for(ex, at, rest, keeps));
    else if (weft_str_is(first, "#else"))
      *ends = AT_ELSE;
    else if (weft_str_is(first, "#end"))
      *ends = AT_END;
    else if (keeps && weft_str_is(first, "#include"))
      WEFT_TRY(include(ex, at->file, take_word(&rest), at->depth));
    else if (keeps) {
      write_line(ex, line, ex->text);
      weft_text_add(ex->text, "\n");
    }
  }
  at->depth--;
  return WEFT_OK;
}

static weft_status expand(expander *ex, const char *file, uint32_t depth) {
  cursor at = {.file = file, .depth = depth};
  size_t length;
  const char *text = weft_wgsl_find(file, &length);
  if (!text) return bad_line(ex, file, "no such file");
  at.left = (weft_str){text, (uint32_t)length};
  ending ends;
  WEFT_TRY(expand_lines(ex, &at, true, &ends));
  return ends == END_OF_FILE ? WEFT_OK : bad_line(ex, file, "#else or #end without #if");
}

/* Whether halves of words are written. */
static bool packs_f16(const weft_shader *shader) {
  for (uint32_t i = 0; i < shader->binding_count; i++) {
    const weft_shader_binding *b = &shader->bindings[i];
    if (b->dtype == WEFT_F16 && b->raw == WEFT_RAW_WORDS && b->writes) return true;
  }
  return false;
}

weft_status weft_shader_write(const weft_shader *shader, const weft_gpu_facts *facts,
                              weft_text *text, weft_error *error) {
  write_enables(shader, facts, text);
  write_params(shader, facts, text);
  for (uint32_t i = 0; i < shader->binding_count; i++)
    WEFT_TRY(write_binding(shader, i, text, error));
  if (shader->expr) WEFT_TRY(weft_wgsl_expression(shader->expr, text, error));
  expander ex = {.shader = shader,
                 .text = text,
                 .error = error,
                 .included = {shader->file},
                 .included_count = 1};
  if (packs_f16(shader)) WEFT_TRY(expand(&ex, "pack_f16", 0));
  return expand(&ex, shader->file, 0);
}
