/* decode.c - ids to text: the tokens' texts, joined as the WordPiece decoder of `tokenizers` does.
 */
#include "llm/tokenizer.h"

/* The text so far, or its length only. */
typedef struct {
  char *text;
  size_t capacity, length;
} output;

static void put(output *out, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++, out->length++)
    if (out->length < out->capacity) out->text[out->length] = text[i];
}

static bool starts_with(weft_str text, weft_str prefix) {
  return prefix.length <= text.length && memcmp(text.data, prefix.data, prefix.length) == 0;
}

/* Replaces `from` by the shorter or equally long `to` in place; returns the new length. */
static size_t replace(char *text, size_t length, const char *from, const char *to) {
  size_t from_length = strlen(from), to_length = strlen(to), end = 0;
  for (size_t at = 0; at < length;) {
    bool found = length - at >= from_length && memcmp(text + at, from, from_length) == 0;
    if (found) {
      memcpy(text + end, to, to_length);
      end += to_length;
      at += from_length;
    } else {
      text[end++] = text[at++];
    }
  }
  return end;
}

/* Undoes what splitting did to English; one after the other, each over the whole token. */
static size_t cleanup(char *text, size_t length) {
  static const char *const rules[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                         {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                         {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                         {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    length = replace(text, length, rules[i][0], rules[i][1]);
  return length;
}

/* Puts a token; `scratch` has room for the longest one and a blank. */
static void put_token(output *out, const weft_decoder *decoder, weft_str text, bool first,
                      char *scratch) {
  bool joined = decoder->present && starts_with(text, decoder->prefix);
  size_t skipped = !first && joined ? decoder->prefix.length : 0, length = 0;
  if (!first && !joined) scratch[length++] = ' ';
  memcpy(scratch + length, text.data + skipped, text.length - skipped);
  length += text.length - skipped;
  put(out, scratch, decoder->cleanup ? cleanup(scratch, length) : length);
}

/* As it is looked for in texts; NULL when it is left out. */
static weft_str token_text(const weft_tokenizer *t, int64_t id, bool skip_special) {
  if (id < 0 || id > WEFT_MAX_TOKEN_ID) return (weft_str){0};
  const weft_added_token *token = weft_added_by_id(&t->added, (uint32_t)id);
  if (token == NULL) return weft_vocab_text(&t->vocab, (uint32_t)id);
  return skip_special && token->special ? (weft_str){0} : token->pattern;
}

static void decode(const weft_tokenizer *t, const int64_t *ids, size_t count, bool skip_special,
                   char *scratch, output *out) {
  bool first = true;
  for (size_t i = 0; i < count; i++) {
    weft_str text = token_text(t, ids[i], skip_special);
    if (text.data == NULL) continue;
    put_token(out, &t->decoder, text, first, scratch);
    first = false;
  }
}

static size_t longest_token(const weft_tokenizer *t, const int64_t *ids, size_t count) {
  size_t longest = 0;
  for (size_t i = 0; i < count; i++) {
    size_t length = token_text(t, ids[i], false).length;
    if (length > longest) longest = length;
  }
  return longest;
}

weft_status weft_tokenizer_decode(const weft_tokenizer *tokenizer, const int64_t *ids, size_t count,
                                  bool skip_special_tokens, char *text, size_t capacity,
                                  size_t *length, weft_error *error) {
  if (tokenizer == NULL || length == NULL || (ids == NULL && count > 0))
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_tokenizer_decode: an argument is NULL");
  weft_heap *heap = (weft_heap *)&tokenizer->heap; /* its counters are atomic */
  size_t scratch_bytes = longest_token(tokenizer, ids, count) + 1;
  char *scratch = weft_heap_allocate(heap, scratch_bytes);
  if (scratch == NULL) return weft_heap_fail(heap, scratch_bytes, "decoding", error);
  output out = {.text = text, .capacity = text != NULL ? capacity : 0};
  decode(tokenizer, ids, count, skip_special_tokens, scratch, &out);
  weft_heap_release(heap, scratch, scratch_bytes);
  *length = out.length;
  if (text == NULL) return WEFT_OK;
  if (out.length >= capacity)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                     "the text and its NUL need %zu bytes, but there is room for %zu",
                     out.length + 1, capacity);
  text[out.length] = 0;
  return WEFT_OK;
}
