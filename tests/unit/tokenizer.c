/* Tests of the tokenizer's public face: buffers, padding, decoding, bad files with their exact
 * errors, invalid UTF-8, and what hostile bytes and lack of memory do. That ids are right is tested
 * against the package `tokenizers` in tests/llm. */
#include "tests/check.h"

#include <stdlib.h>

#include "base/host.h"
#include "base/status.h"
#include "weft/weft_llm.h"

#define SMALL_VOCAB                                                                                \
  "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,\"hello\":5,\"##s\":6,"            \
  "\"world\":7,\",\":8,\"\\ufffd\":9,\"##\\ufffd\":10,\"a\":11,\"##a\":12,\"\xe4\xb8\xad\":13"
#define NORMALIZER                                                                                 \
  "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":false,"                              \
  "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
#define PRE_TOKENIZER "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
#define POST_PROCESSOR                                                                             \
  "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},"
#define ADDED                                                                                      \
  "\"added_tokens\":[{\"id\":4,\"content\":\"[MASK]\",\"single_word\":false,\"lstrip\":true,"      \
  "\"rstrip\":false,\"normalized\":false,\"special\":true},{\"id\":14,\"content\":\"Aa\","         \
  "\"single_word\":true,\"lstrip\":false,\"rstrip\":true,\"normalized\":true,\"special\":false}],"
#define DECODER "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
#define MODEL_HEAD                                                                                 \
  "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##"   \
  "\","                                                                                            \
  "\"max_input_chars_per_word\":100,"
#define MODEL MODEL_HEAD "\"vocab\":{" SMALL_VOCAB "}}"
#define SMALL                                                                                      \
  "{\"version\":\"1.0\"," ADDED NORMALIZER PRE_TOKENIZER POST_PROCESSOR DECODER MODEL "}"

static weft_runtime *runtime;
static weft_error failure;

static weft_tokenizer *open_bytes(const char *bytes, size_t length) {
  weft_tokenizer *tokenizer = NULL;
  weft_status status = weft_tokenizer_open(runtime, bytes, length, NULL, &tokenizer, &failure);
  CHECK((status == WEFT_OK) == (tokenizer != NULL));
  return tokenizer;
}

static weft_tokenizer *open_small(void) {
  weft_tokenizer *tokenizer = open_bytes(SMALL, sizeof SMALL - 1);
  if (!CHECK(tokenizer != NULL)) check_print("  %s\n", failure.message);
  return tokenizer;
}

static weft_encode_input input_of(const char *text) {
  return (weft_encode_input){.text = text, .length = strlen(text)};
}

static void test_encode(void) {
  weft_tokenizer *tokenizer = open_small();
  int64_t ids[16], types[16], mask[16];
  weft_token_span spans[16];
  weft_encoding out = {WEFT_I64, 16, ids, types, mask, spans, 0};
  weft_encode_input input = {"Hellos, [MASK]Aa  x", 19, "world\xe4\xb8\xad", 8};
  CHECK_OK(weft_tokenizer_encode(tokenizer, &input, 1, NULL, &out, &failure), &failure);
  static const int64_t expected[] = {2, 5, 6, 8, 4, 14, 1, 3, 7, 13, 3};
  static const weft_token_span places[] = {{0, 0},   {0, 5}, {5, 6}, {6, 7}, {7, 14}, {14, 18},
                                           {18, 19}, {0, 0}, {0, 5}, {5, 8}, {0, 0}};
  CHECK_INT(out.length, 11);
  for (size_t i = 0; i < 11; i++) {
    CHECK_INT(ids[i], expected[i]);
    CHECK_INT(types[i], i >= 8);
    CHECK_INT(mask[i], 1);
    CHECK_INT(spans[i].start, places[i].start);
    CHECK_INT(spans[i].end, places[i].end);
  }
  weft_tokenizer_close(&tokenizer);
  CHECK(tokenizer == NULL);
}

static void test_buffers(void) {
  weft_tokenizer *tokenizer = open_small();
  int32_t ids[13];
  for (size_t i = 0; i < 13; i++) ids[i] = -7;
  weft_encode_input inputs[3] = {input_of("hello world"), input_of(""), input_of("a")};
  weft_encoding out = {.dtype = WEFT_I32};
  CHECK_OK(weft_tokenizer_encode(tokenizer, inputs, 3, NULL, &out, &failure), &failure);
  CHECK_INT(out.length, 4);

  out.ids = ids;
  out.capacity = 11;
  CHECK_INT(weft_tokenizer_encode(tokenizer, inputs, 3, NULL, &out, &failure), WEFT_LIMIT_EXCEEDED);
  CHECK_TEXT(failure.message, "3 rows need 4 tokens each, but there is room for 3");
  CHECK_INT(out.length, 4);
  CHECK_INT(ids[11], -7);

  out.capacity = 12;
  CHECK_OK(weft_tokenizer_encode(tokenizer, inputs, 3, NULL, &out, &failure), &failure);
  static const int32_t expected[] = {2, 5, 7, 3, 2, 3, 0, 0, 2, 11, 3, 0, -7};
  for (size_t i = 0; i < 13; i++) CHECK_INT(ids[i], expected[i]);

  weft_encode_options options = weft_encode_options_default();
  options.max_length = 1;
  CHECK_INT(weft_tokenizer_encode(tokenizer, inputs, 1, &options, &out, &failure),
            WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(failure.message, "max_length is 1, but there are 2 special tokens");
  out.dtype = WEFT_F32;
  CHECK_INT(weft_tokenizer_encode(tokenizer, inputs, 1, NULL, &out, &failure),
            WEFT_INVALID_ARGUMENT);
  weft_tokenizer_close(&tokenizer);
}

static void test_decode(void) {
  weft_tokenizer *tokenizer = open_small();
  static const int64_t ids[] = {2, 5, 6, 8, 7, 14, 999, -1, 4, 3};
  char text[64];
  size_t length = 0;
  CHECK_OK(weft_tokenizer_decode(tokenizer, ids, 10, true, text, sizeof text, &length, &failure),
           &failure);
  CHECK_TEXT(text, "[CLS] hellos, world aa [SEP]"); /* only [MASK] is special here */
  CHECK_INT(length, 28);
  CHECK_OK(weft_tokenizer_decode(tokenizer, ids, 10, false, text, sizeof text, &length, &failure),
           &failure);
  CHECK_TEXT(text, "[CLS] hellos, world aa [MASK] [SEP]");
  CHECK_INT(weft_tokenizer_decode(tokenizer, ids, 10, true, text, 28, &length, &failure),
            WEFT_LIMIT_EXCEEDED);
  CHECK_INT(length, 28);
  CHECK_OK(weft_tokenizer_decode(tokenizer, ids, 10, true, NULL, 0, &length, &failure), &failure);
  CHECK_INT(length, 28);
  weft_tokenizer_close(&tokenizer);
}

static void test_describe(void) {
  weft_tokenizer *tokenizer = open_small();
  weft_tokenizer_info info;
  weft_tokenizer_describe(tokenizer, &info);
  CHECK_INT(info.vocab_size, 15);
  CHECK_INT(info.unk_id, 1);
  CHECK_INT(info.cls_id, 2);
  CHECK_INT(info.sep_id, 3);
  CHECK_INT(info.pad_id, 0);
  CHECK_INT(info.mask_id, 4);
  CHECK_INT(info.special_single, 2);
  CHECK_INT(info.special_pair, 3);
  const char *text;
  size_t length;
  CHECK_INT(weft_tokenizer_token(tokenizer, 14, &text, &length), WEFT_OK);
  CHECK_TEXT(text, "Aa");
  CHECK_INT(weft_tokenizer_token(tokenizer, 10, &text, &length), WEFT_OK);
  CHECK_TEXT(text, "##\xef\xbf\xbd");
  CHECK_INT(weft_tokenizer_token(tokenizer, 15, &text, &length), WEFT_INVALID_ARGUMENT);
  CHECK_INT(weft_tokenizer_find(tokenizer, "Aa", 2), 14);
  CHECK_INT(weft_tokenizer_find(tokenizer, "world", 5), 7);
  CHECK_INT(weft_tokenizer_find(tokenizer, "worl", 4), -1);
  weft_tokenizer_close(&tokenizer);
}

/* Each maximal part that begins a character is one U+FFFD; the counts are those of Rust's
 * String::from_utf8_lossy and Python's errors="replace". */
static void test_invalid_utf8(void) {
  static const struct {
    const char *text;
    size_t replaced;
  } cases[] = {{"\x80", 1},         {"\xbf\xbf", 2},         {"\xc0\xaf", 2},
               {"\xc3", 1},         {"\xe2\x82", 1},         {"\xe0\x80\x80", 3},
               {"\xed\xa0\x80", 3}, {"\xed\x9f", 1},         {"\xf0\x9f\x98", 1},
               {"\xf0\x8f\xbf", 3}, {"\xf4\x90\x80\x80", 4}, {"\xf5\x80\x80\x80", 4},
               {"\xff\xfe", 2},     {"\xe1\x80\xe2\x82", 2}, {"\xf1\x80\x80\xf0\x9f\x98", 2}};
  weft_tokenizer *tokenizer = open_small();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t ids[8] = {0};
    weft_encode_options options = {.add_special_tokens = false};
    weft_encoding out = {.dtype = WEFT_I64, .capacity = 8, .ids = ids};
    weft_encode_input input = input_of(cases[i].text);
    CHECK_OK(weft_tokenizer_encode(tokenizer, &input, 1, &options, &out, &failure), &failure);
    CHECK_INT(out.length, cases[i].replaced);
    for (size_t k = 0; k < out.length; k++) CHECK_INT(ids[k], k == 0 ? 9 : 10);
  }
  weft_tokenizer_close(&tokenizer);
}

/* ---- bad files ------------------------------------------------------------------------------ */

static void test_bad_json(void) {
  static const struct {
    const char *file;
    weft_status status;
    const char *message;
  } cases[] = {
      {"{}", WEFT_INVALID_MODEL,
       "tokenizer.json: the object that ends at byte 2 has no \"pre_tokenizer\""},
      {"{" PRE_TOKENIZER "\"x\":1}", WEFT_INVALID_MODEL,
       "tokenizer.json: the object that ends at byte 51 has no \"model\""},
      {"{\"version\":\"2.0\"}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"version\" is \"2.0\"; Weft knows 1.0"},
      {"{\"model\":{\"type\":\"BPE\"}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"model.type\" is \"BPE\"; Weft knows WordPiece"},
      {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"normalizer.type\" is \"Sequence\"; Weft knows BertNormalizer"},
      {"{\"normalizer\":{}}", WEFT_INVALID_MODEL,
       "tokenizer.json: byte 14, key \"normalizer\": the object has no \"type\""},
      {"{\"pre_tokenizer\":null}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"pre_tokenizer\" is null; Weft knows BertPreTokenizer"},
      {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"pre_tokenizer.type\" is \"ByteLevel\"; Weft knows BertPreTokenizer"},
      {"{\"decoder\":{\"type\":\"ByteLevel\"}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"decoder.type\" is \"ByteLevel\"; Weft knows WordPiece"},
      {"{\"post_processor\":{\"type\":\"RobertaProcessing\"}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"post_processor.type\" is \"RobertaProcessing\"; Weft knows "
       "TemplateProcessing"},
      {"{\"truncation\":{\"strategy\":\"Shortest\"}}", WEFT_UNSUPPORTED,
       "tokenizer.json: \"strategy\" is \"Shortest\"; Weft knows LongestFirst, OnlyFirst and "
       "OnlySecond"},
      {"{\"truncation\":{\"max_length\":-1}}", WEFT_INVALID_MODEL,
       "tokenizer.json: byte 28, key \"max_length\": an integer of 0 or more is expected"},
      {"{\"padding\":{\"pad_id\":2147483647}}", WEFT_LIMIT_EXCEEDED,
       "tokenizer.json: byte 31, key \"pad_id\": the number is too large"},
      {"{\"version\":\"1.0\",\"version\":\"1.0\"}", WEFT_INVALID_MODEL,
       "tokenizer.json: byte 27, key \"version\": the key stands twice"},
      {"{\"model\":{\"vocab\":{\"a\":\"b\"}}}", WEFT_INVALID_MODEL,
       "tokenizer.json: byte 23, key \"a\": an integer of 0 or more is expected"},
      {"{\"model\":{\"vocab\":{\"a\xff\":1}}}", WEFT_INVALID_MODEL,
       "tokenizer.json: byte 21, key \"vocab\": invalid UTF-8 in a string"},
      {"{\"added_tokens\":[{\"id\":1}]}", WEFT_INVALID_MODEL,
       "tokenizer.json: the object that ends at byte 25 has no \"content\""},
      {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"special_tokens\":{},"
       "\"single\":[{\"SpecialToken\":{\"id\":\"X\",\"type_id\":0}}]}}",
       WEFT_INVALID_MODEL,
       "tokenizer.json: byte 116, key \"type_id\": the template names a token that "
       "\"special_tokens\" does not have"},
      {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"special_tokens\":{},"
       "\"single\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]}}",
       WEFT_INVALID_MODEL,
       "tokenizer.json: byte 112, key \"type_id\": the single template names text B"},
      {"{" PRE_TOKENIZER "\"model\":{\"unk_token\":\"?\",\"continuing_subword_prefix\":\"\","
       "\"max_input_chars_per_word\":1025,\"vocab\":{}}}",
       WEFT_LIMIT_EXCEEDED, "\"max_input_chars_per_word\" is 1025; the most is 1024"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CHECK(open_bytes(cases[i].file, strlen(cases[i].file)) == NULL);
    CHECK_INT(failure.status, cases[i].status);
    CHECK_TEXT(failure.message, cases[i].message);
  }
}

static void test_vocab_txt(void) {
  static const char bad[] = "[CLS]\n[SEP]\na\xff\n";
  CHECK(open_bytes(bad, sizeof bad - 1) == NULL);
  CHECK_TEXT(failure.message, "vocab.txt: invalid UTF-8 at byte 13");
  CHECK(open_bytes("a\nb\n", 4) == NULL);
  CHECK_TEXT(failure.message, "vocab.txt: there is no token [CLS]");
  CHECK(open_bytes("", 0) == NULL);

  /* No [UNK]; a token stands twice: the later line counts. White space behind is cut. */
  static const char text[] = "[CLS]\r\n[SEP]\na\nb \t\n\na";
  weft_tokenizer *tokenizer = open_bytes(text, sizeof text - 1);
  if (!CHECK(tokenizer != NULL)) return;
  CHECK_INT(weft_tokenizer_find(tokenizer, "a", 1), 5);
  CHECK_INT(weft_tokenizer_find(tokenizer, "b", 1), 3);
  int64_t ids[8];
  weft_encoding out = {.dtype = WEFT_I64, .capacity = 8, .ids = ids};
  weft_encode_input known = input_of("A b"), unknown = input_of("c");
  CHECK_OK(weft_tokenizer_encode(tokenizer, &known, 1, NULL, &out, &failure), &failure);
  CHECK_INT(ids[1], 5);
  CHECK_INT(weft_tokenizer_encode(tokenizer, &unknown, 1, NULL, &out, &failure), WEFT_INVALID_DATA);
  CHECK_TEXT(failure.message,
             "a word is not in the vocabulary, which has no token \"[UNK]\" either");
  weft_tokenizer_close(&tokenizer);
}

/* Whatever opens must also encode and decode. */
static void use(const char *bytes, size_t length) {
  weft_tokenizer *tokenizer = NULL;
  if (weft_tokenizer_open(runtime, bytes, length, NULL, &tokenizer, NULL) != WEFT_OK) return;
  int64_t ids[64];
  char text[256];
  size_t text_length;
  weft_encoding out = {.dtype = WEFT_I64, .capacity = 64, .ids = ids};
  weft_encode_input input = input_of("Hello worlds, [MASK] Aa \xe4\xb8\xad\xff aaa");
  if (weft_tokenizer_encode(tokenizer, &input, 1, NULL, &out, NULL) == WEFT_OK)
    weft_tokenizer_decode(tokenizer, ids, out.length, false, text, sizeof text, &text_length, NULL);
  weft_tokenizer_close(&tokenizer);
}

static void test_truncated_files(void) {
  for (size_t length = 0; length < sizeof SMALL - 1; length++) {
    char *copy = malloc(length + 1); /* of its exact size, so that a sanitizer sees its end */
    memcpy(copy, SMALL, length);
    if (length > 1) CHECK(open_bytes(copy, length) == NULL);
    free(copy);
  }
}

static void test_flipped_bytes(void) {
  static char copy[sizeof SMALL];
  uint64_t random = 0x9e3779b97f4a7c15u;
  uint64_t before = weft_runtime_memory(runtime).bytes;
  for (int round = 0; round < 10000; round++) {
    memcpy(copy, SMALL, sizeof SMALL);
    copy[check_random(&random) % (sizeof SMALL - 1)] = (char)check_random(&random);
    use(copy, sizeof SMALL - 1);
  }
  CHECK_INT(weft_runtime_memory(runtime).bytes, before);
}

/* ---- memory --------------------------------------------------------------------------------- */

static int64_t allocations_left;
static weft_allocator host_allocator;

static void *allocate_some(void *user, size_t bytes, size_t alignment) {
  (void)user;
  return allocations_left-- > 0 ? host_allocator.allocate(host_allocator.user, bytes, alignment)
                                : NULL;
}

static void release(void *user, void *memory, size_t bytes) {
  (void)user;
  host_allocator.release(host_allocator.user, memory, bytes);
}

/* A text whose combining characters, tokens and normalized form all need memory to grow. */
static size_t make_growing(char *text) {
  size_t length = 0;
  for (int i = 0; i < 200; i++) {
    memcpy(text + length, i < 100 ? "\xe3\x80\xae" : "a, ", 3);
    length += 3;
  }
  return length;
}

static weft_status open_and_encode(weft_runtime *on) {
  weft_tokenizer *tokenizer;
  char text[600], decoded[64];
  int64_t ids[700];
  size_t length;
  WEFT_TRY(weft_tokenizer_open(on, SMALL, sizeof SMALL - 1, NULL, &tokenizer, &failure));
  weft_encode_input input = {.text = text, .length = make_growing(text)};
  weft_encoding out = {.dtype = WEFT_I64, .capacity = 700, .ids = ids};
  weft_status status = weft_tokenizer_encode(tokenizer, &input, 1, NULL, &out, &failure);
  if (status == WEFT_OK)
    status =
        weft_tokenizer_decode(tokenizer, ids, 4, false, decoded, sizeof decoded, &length, &failure);
  weft_tokenizer_close(&tokenizer);
  return status;
}

static void test_out_of_memory(void) {
  host_allocator = weft_host_allocator();
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){allocate_some, release, NULL};
  weft_runtime *small;
  allocations_left = 1;
  CHECK_OK(weft_runtime_open(&options, &small, &failure), &failure);
  uint64_t before = weft_runtime_memory(small).bytes;
  weft_status status = WEFT_OUT_OF_MEMORY;
  int64_t count = 0;
  for (; status != WEFT_OK && count < 1000; count++) {
    allocations_left = count;
    status = open_and_encode(small);
    CHECK(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
    CHECK_INT(weft_runtime_memory(small).bytes, before);
  }
  CHECK_INT(status, WEFT_OK);
  CHECK(count > 15);
  weft_runtime_close(&small);
}

int main(void) {
  CHECK_OK(weft_runtime_open(NULL, &runtime, &failure), &failure);
  CHECK_RUN(test_encode);
  CHECK_RUN(test_buffers);
  CHECK_RUN(test_decode);
  CHECK_RUN(test_describe);
  CHECK_RUN(test_invalid_utf8);
  CHECK_RUN(test_bad_json);
  CHECK_RUN(test_vocab_txt);
  CHECK_RUN(test_truncated_files);
  CHECK_RUN(test_flipped_bytes);
  CHECK_RUN(test_out_of_memory);
  weft_runtime_close(&runtime);
  return check_result();
}
