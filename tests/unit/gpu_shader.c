/* Tests of src/gpu/shader: how a file becomes the text of a variant. The files are this test's own:
 * it stands in for the embedded ones. */
#include <string.h>

#include "gpu/shader.h"
#include "tests/check.h"

static const struct {
  const char *name, *text;
} files[] = {
    {"plain", "one\n  two ${A} ${B}x\nthree"},
    {"chosen", "#if A\na\n#else\nnot a\n#end\n#if A == 2\ntwo\n#if B\nboth\n#end\n#end\nlast\n"},
    {"rounds", "#for i 2\n#for j N\na${i}${j}\n#if i == j\nsame\n#end\n#end\n#end\n"
               "#for i 0\nnone\n#end\nlast\n"},
    {"named", "#for i 2\n#if L${i}\nlisted ${i}\n#end\n#end\n"},
    {"divided", "#for i 5\n${i/A}.${i%A} ${A/B} ${i%2}\n#end\n"},
    {"endless", "#for i 2\n"},
    {"outer", "#include inner\n#if A\n#include inner\n#end\n#include plain\n"},
    {"inner", "inside ${A}\n"},
    {"itself", "#include itself\nonce\n"},
    {"open", "#if A\n"},
    {"shut", "#end\n"},
    {"lost", "#include nowhere\n"},
    {"size", "${SUBGROUP_SIZE_ATTRIBUTE} @compute\n"},
};

const char *weft_wgsl_find(const char *name, size_t *length) {
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    if (strcmp(files[i].name, name) != 0) continue;
    *length = strlen(files[i].text);
    return files[i].text;
  }
  return NULL;
}

const char *weft_wgsl_name(const char *name) {
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (strcmp(files[i].name, name) == 0) return files[i].name;
  return NULL;
}

const char *weft_wgsl_version(void) {
  return "test";
}

static char written[8192];
static const weft_gpu_facts plain_facts = {.immediate_bytes = 64};

static weft_status write(const weft_shader *shader, weft_error *error) {
  weft_text text = {.buffer = written, .size = sizeof written};
  return weft_shader_write(shader, &plain_facts, &text, error);
}

static void check_written(const weft_shader *shader, const char *expected) {
  weft_error error;
  CHECK_OK(write(shader, &error), &error);
  CHECK_TEXT(written, expected);
}

static void check_fails(const char *file, const char *message) {
  weft_shader shader = {.file = file};
  weft_error error;
  CHECK_INT(write(&shader, &error), WEFT_INTERNAL);
  CHECK_TEXT(error.message, message);
}

static void test_defines(void) {
  weft_shader shader = {.file = "plain"};
  weft_shader_set(&shader, "A", 7);
  check_written(&shader, "one\n  two 7 0x\nthree\n");
}

static void test_conditions(void) {
  weft_shader shader = {.file = "chosen"};
  check_written(&shader, "not a\nlast\n");
  weft_shader_set(&shader, "B", 1);
  check_written(&shader, "not a\nlast\n");
  weft_shader_set(&shader, "A", 1);
  check_written(&shader, "a\nlast\n");
  shader.defines[1].value = 2;
  check_written(&shader, "a\ntwo\nboth\nlast\n");
}

static void test_loops(void) {
  weft_shader shader = {.file = "rounds"};
  weft_shader_set(&shader, "N", 2);
  check_written(&shader, "a00\nsame\na01\na10\na11\nsame\nlast\n");
  shader = (weft_shader){.file = "named"};
  weft_shader_set(&shader, "L1", 1);
  check_written(&shader, "listed 1\n");
}

static void test_quotients(void) {
  weft_shader shader = {.file = "divided"};
  weft_shader_set(&shader, "A", 3);
  check_written(&shader, "0.0 0 0\n0.1 0 1\n0.2 0 0\n1.0 0 1\n1.1 0 0\n"); /* B is 0 */
}

static void test_includes(void) {
  weft_shader shader = {.file = "outer"};
  weft_shader_set(&shader, "A", 1);
  check_written(&shader, "inside 1\none\n  two 1 0x\nthree\n");
  shader = (weft_shader){.file = "itself"};
  check_written(&shader, "once\n");
}

static void test_faults(void) {
  check_fails("endless", "shader endless: #for without #end");
  check_fails("open", "shader open: #if without #end");
  check_fails("shut", "shader shut: #else or #end without #if");
  check_fails("lost", "shader lost: an included file does not exist");
  check_fails("missing", "shader missing: no such file");
}

static void test_features(void) {
  weft_shader shader = {.file = "size", .f16 = true, .subgroups = true, .subgroup_size = 16};
  check_written(&shader, "enable f16;\nenable subgroups;\nenable subgroup_size_control;\n"
                         "@subgroup_size(16) @compute\n");
  shader = (weft_shader){.file = "size"};
  check_written(&shader, " @compute\n");
}

static void test_parameters(void) {
  weft_shader shader = {.file = "inner", .param_words = 16};
  check_written(&shader, "var<immediate> params: Params;\ninside 0\n");
  shader.param_words = 17;
  check_written(&shader, "@group(0) @binding(0) var<uniform> params: Params;\ninside 0\n");
}

/* The names in accessors are the binding's, also where it has an x of its own. */
static void test_accessors(void) {
  weft_shader shader = {.file = "inner"};
  weft_shader_bind(&shader, "x_x", WEFT_F32, WEFT_RAW_VEC4, true);
  check_written(&shader,
                "@group(0) @binding(0) var<storage, read_write> x_x_raw: array<vec4<f32>>;\n"
                "fn x_x(i: u32) -> f32 { return x_x_raw[(i) >> 2u][(i) & 3u]; }\n"
                "fn x_x4(i: u32) -> vec4<f32> { return x_x_raw[i]; }\n"
                "fn x_x4_store(i: u32, v: vec4<f32>) { x_x_raw[i] = v; }\n"
                "inside 0\n");
  shader = (weft_shader){.file = "inner"};
  weft_shader_bind(&shader, "ids", WEFT_I64, WEFT_RAW_WORDS, false);
  CHECK_INT(write(&shader, NULL), WEFT_OK);
  CHECK(strstr(written, "fn ids(i: u32) -> i32 { return i32(ids_raw[2u * i]); }") != NULL);
  weft_error error;
  shader = (weft_shader){.file = "inner"};
  weft_shader_bind(&shader, "x", WEFT_F64, WEFT_RAW_WORDS, false);
  CHECK_INT(write(&shader, &error), WEFT_UNSUPPORTED);
  CHECK_TEXT(error.message, "the GPU has no such arrays of f64");
}

int main(void) {
  CHECK_RUN(test_defines);
  CHECK_RUN(test_conditions);
  CHECK_RUN(test_loops);
  CHECK_RUN(test_quotients);
  CHECK_RUN(test_includes);
  CHECK_RUN(test_faults);
  CHECK_RUN(test_features);
  CHECK_RUN(test_parameters);
  CHECK_RUN(test_accessors);
  return check_result();
}
