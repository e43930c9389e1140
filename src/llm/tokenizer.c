/* tokenizer.c - opening, closing and describing a tokenizer. */
#include "llm/tokenizer.h"

#include "base/runtime.h"

weft_tokenizer_options weft_tokenizer_options_default(void) {
  return (weft_tokenizer_options){.format = WEFT_TOKENIZER_AUTO,
                                  .lowercase = true,
                                  .strip_accents = -1,
                                  .clean_text = true,
                                  .split_chinese = true};
}

bool weft_template_add(weft_template *to, weft_template_kind kind, uint32_t id, uint32_t type_id) {
  if (to->count == WEFT_MAX_TEMPLATE_PIECES) return false;
  to->pieces[to->count++] = (weft_template_piece){kind, id, type_id};
  to->specials += kind == WEFT_TEMPLATE_SPECIAL;
  return true;
}

/* The parts of BERT's pair; a single text ends before the fourth. */
void weft_tokenizer_use_bert_template(weft_tokenizer *tokenizer, uint32_t cls, uint32_t sep) {
  const weft_template_piece pieces[] = {{WEFT_TEMPLATE_SPECIAL, cls, 0},
                                        {WEFT_TEMPLATE_FIRST, 0, 0},
                                        {WEFT_TEMPLATE_SPECIAL, sep, 0},
                                        {WEFT_TEMPLATE_PAIR, 0, 1},
                                        {WEFT_TEMPLATE_SPECIAL, sep, 1}};
  tokenizer->single = (weft_template){.count = 3, .specials = 2};
  tokenizer->pair = (weft_template){.count = 5, .specials = 3};
  memcpy(tokenizer->single.pieces, pieces, 3 * sizeof *pieces);
  memcpy(tokenizer->pair.pieces, pieces, sizeof pieces);
}

/* A vocab.txt can hardly begin with {" and a JSON file has nothing else to begin with. */
static bool looks_like_json(const uint8_t *bytes, size_t length) {
  bool brace = false;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == ' ' || bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\t') continue;
    if (brace) return bytes[i] == '"' || bytes[i] == '}';
    if (bytes[i] != '{') return false;
    brace = true;
  }
  return brace;
}

/* The look-ups that follow from what the file said. */
static weft_status finish(weft_tokenizer *tokenizer, weft_error *error) {
  weft_wordpiece *model = &tokenizer->wordpiece;
  if (model->max_chars > WEFT_MAX_WORD_CHARS)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                     "\"max_input_chars_per_word\" is %u; the most is %u", model->max_chars,
                     WEFT_MAX_WORD_CHARS);
  weft_normalizer_init(&tokenizer->normalizer);
  WEFT_TRY(weft_added_finish(&tokenizer->added, &tokenizer->arena, &tokenizer->vocab,
                             &tokenizer->normalizer, error));
  model->trie = &tokenizer->vocab.trie;
  model->unknown_id = weft_vocab_find(&tokenizer->vocab, tokenizer->unknown);
  model->continuation = weft_trie_walk(model->trie, tokenizer->prefix);
  if (!tokenizer->has_padding) {
    int64_t pad = weft_tokenizer_find(tokenizer, "[PAD]", strlen("[PAD]"));
    tokenizer->padding.id = pad < 0 ? 0 : (uint32_t)pad;
  }
  return WEFT_OK;
}

static weft_status fill(weft_tokenizer *tokenizer, const void *bytes, size_t length,
                        const weft_tokenizer_options *options, weft_error *error) {
  tokenizer->truncation.max_length = WEFT_NO_TRUNCATION;
  weft_template_add(&tokenizer->single, WEFT_TEMPLATE_FIRST, 0, 0);
  weft_template_add(&tokenizer->pair, WEFT_TEMPLATE_FIRST, 0, 0);
  weft_template_add(&tokenizer->pair, WEFT_TEMPLATE_PAIR, 0, 1);
  bool json = options->format == WEFT_TOKENIZER_JSON ||
              (options->format == WEFT_TOKENIZER_AUTO && looks_like_json(bytes, length));
  if (json)
    WEFT_TRY(weft_tokenizer_read_json(tokenizer, bytes, length, error));
  else
    WEFT_TRY(weft_tokenizer_read_vocab_txt(tokenizer, bytes, length, options, error));
  return finish(tokenizer, error);
}

weft_status weft_tokenizer_open(weft_runtime *runtime, const void *bytes, size_t length,
                                const weft_tokenizer_options *options, weft_tokenizer **out,
                                weft_error *error) {
  if (out != NULL) *out = NULL;
  if (runtime == NULL || out == NULL || (bytes == NULL && length > 0))
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_tokenizer_open: an argument is NULL");
  weft_tokenizer_options defaults = weft_tokenizer_options_default();
  weft_tokenizer *tokenizer = weft_heap_allocate_zeroed(&runtime->heap, sizeof *tokenizer);
  if (tokenizer == NULL)
    return weft_heap_fail(&runtime->heap, sizeof *tokenizer, "a tokenizer", error);
  weft_heap_init(&tokenizer->heap, NULL, &runtime->heap, 0);
  weft_arena_init(&tokenizer->arena, &tokenizer->heap);
  weft_status status = fill(tokenizer, bytes, length, options != NULL ? options : &defaults, error);
  if (status != WEFT_OK) weft_tokenizer_close(&tokenizer);
  *out = tokenizer;
  return status;
}

void weft_tokenizer_close(weft_tokenizer **tokenizer) {
  if (tokenizer == NULL || *tokenizer == NULL) return;
  weft_heap *parent = (*tokenizer)->heap.parent;
  weft_arena_release(&(*tokenizer)->arena);
  weft_heap_release(parent, *tokenizer, sizeof **tokenizer);
  *tokenizer = NULL;
}

int64_t weft_tokenizer_find(const weft_tokenizer *tokenizer, const char *text, size_t length) {
  if (length > UINT32_MAX || text == NULL) return -1;
  weft_str name = {text, (uint32_t)length};
  uint32_t id = weft_vocab_find(&tokenizer->vocab, name);
  if (id != WEFT_TRIE_NONE) return id;
  const weft_added_token *token = weft_added_find(&tokenizer->added, name);
  return token != NULL ? (int64_t)token->id : -1;
}

weft_status weft_tokenizer_token(const weft_tokenizer *tokenizer, int64_t id, const char **text,
                                 size_t *length) {
  *text = NULL;
  *length = 0;
  if (id < 0 || id > WEFT_MAX_TOKEN_ID) return WEFT_INVALID_ARGUMENT;
  const weft_added_token *token = weft_added_by_id(&tokenizer->added, (uint32_t)id);
  weft_str found =
      token != NULL ? token->content : weft_vocab_text(&tokenizer->vocab, (uint32_t)id);
  *text = found.data;
  *length = found.length;
  return found.data != NULL ? WEFT_OK : WEFT_INVALID_ARGUMENT;
}

void weft_tokenizer_describe(const weft_tokenizer *tokenizer, weft_tokenizer_info *out) {
  const weft_truncation *truncation = &tokenizer->truncation;
  const char *unknown = tokenizer->unknown.data;
  *out = (weft_tokenizer_info){
      .vocab_size = tokenizer->vocab.id_end,
      .unk_id = weft_tokenizer_find(tokenizer, unknown, tokenizer->unknown.length),
      .cls_id = weft_tokenizer_find(tokenizer, "[CLS]", strlen("[CLS]")),
      .sep_id = weft_tokenizer_find(tokenizer, "[SEP]", strlen("[SEP]")),
      .pad_id = weft_tokenizer_find(tokenizer, "[PAD]", strlen("[PAD]")),
      .mask_id = weft_tokenizer_find(tokenizer, "[MASK]", strlen("[MASK]")),
      .special_single = tokenizer->single.specials,
      .special_pair = tokenizer->pair.specials,
      .max_length = truncation->max_length == WEFT_NO_TRUNCATION ? 0 : truncation->max_length,
      .pad_length = tokenizer->padding.length,
      .pad_multiple = tokenizer->padding.multiple,
      .pads_left = tokenizer->padding.left,
      .lowercase = tokenizer->normalizer.lowercase,
  };
  if (tokenizer->has_padding) out->pad_id = tokenizer->padding.id;
}
