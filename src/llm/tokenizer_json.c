/* tokenizer_json.c - reads Hugging Face's tokenizer.json into a tokenizer. Each object of it is a
 * table of fields below. Settings that Weft does not have are WEFT_UNSUPPORTED, by name. */
#include "base/json.h"
#include "llm/tokenizer.h"

#define FILE_NAME "tokenizer.json"

typedef struct {
  weft_json json;
  weft_tokenizer *tokenizer;
} loader;

typedef struct field {
  const char *key;
  weft_status (*read)(loader *l, void *to, weft_error *error);
  void *to;
  bool optional;
} field;

#define COUNT(array) (sizeof(array) / sizeof *(array))

static weft_status unsupported(const char *key, weft_json_string value, const char *known,
                               weft_error *error) {
  int shown = value.length < 80 ? (int)value.length : 80;
  return weft_fail(error, WEFT_UNSUPPORTED, FILE_NAME ": \"%s\" is \"%.*s\"; Weft knows %s", key,
                   shown, (const char *)value.data, known);
}

/* Reads an object: each field at most once, each that is not optional exactly once, others
 * skipped. */
static weft_status read_object(loader *l, const field *fields, size_t count, weft_error *error) {
  uint32_t seen = 0;
  bool more;
  weft_json_string key;
  WEFT_TRY(weft_json_begin_object(&l->json, error));
  for (;;) {
    WEFT_TRY(weft_json_next_member(&l->json, &more, &key, error));
    if (!more) break;
    size_t i = 0;
    while (i < count && !weft_json_is(key, fields[i].key)) i++;
    if (i < count && (seen >> i & 1))
      return weft_json_fail(&l->json, WEFT_INVALID_MODEL, "the key stands twice", error);
    if (i < count) seen |= 1u << i;
    WEFT_TRY(i < count ? fields[i].read(l, fields[i].to, error) : weft_json_skip(&l->json, error));
  }
  for (size_t i = 0; i < count; i++)
    if (!fields[i].optional && !(seen >> i & 1))
      return weft_fail(error, WEFT_INVALID_MODEL,
                       FILE_NAME ": the object that ends at byte %llu has no \"%s\"",
                       (unsigned long long)l->json.at, fields[i].key);
  return WEFT_OK;
}

/* ---- plain values --------------------------------------------------------------------------- */

static weft_status read_bool(loader *l, void *to, weft_error *error) {
  return weft_json_read_bool(&l->json, to, error);
}

/* A number that fits an int32 tensor. */
static weft_status read_u32(loader *l, void *to, weft_error *error) {
  uint64_t value;
  WEFT_TRY(weft_json_read_unsigned(&l->json, WEFT_MAX_TOKEN_ID, &value, error));
  *(uint32_t *)to = (uint32_t)value;
  return WEFT_OK;
}

static weft_status read_size(loader *l, void *to, weft_error *error) {
  uint64_t value;
  WEFT_TRY(weft_json_read_unsigned(&l->json, WEFT_MAX_TOKEN_ID, &value, error));
  *(size_t *)to = (size_t)value;
  return WEFT_OK;
}

static weft_status keep_string(loader *l, weft_json_string string, weft_str *to,
                               weft_error *error) {
  char *text = weft_arena_allocate(&l->tokenizer->arena, (uint64_t)string.length + 1);
  if (text == NULL) return weft_arena_fail(&l->tokenizer->arena, "a string", error);
  *to = (weft_str){text, (uint32_t)weft_json_unescape(string, text)};
  return WEFT_OK;
}

static weft_status read_string(loader *l, void *to, weft_error *error) {
  weft_json_string string;
  WEFT_TRY(weft_json_read_string(&l->json, &string, error));
  return keep_string(l, string, to, error);
}

static weft_status read_raw_string(loader *l, void *to, weft_error *error) {
  return weft_json_read_string(&l->json, to, error);
}

static weft_status is_null(loader *l, bool *null, weft_error *error) {
  weft_json_kind kind;
  WEFT_TRY(weft_json_peek(&l->json, &kind, error));
  *null = kind == WEFT_JSON_NULL;
  return *null ? weft_json_skip(&l->json, error) : WEFT_OK;
}

/* Reads a string that must be one of `names` (NULL ends them) into its index. */
static weft_status read_choice(loader *l, const char *const *names, const char *known,
                               uint32_t *out, weft_error *error) {
  weft_json_string value;
  WEFT_TRY(weft_json_read_string(&l->json, &value, error));
  for (*out = 0; names[*out] != NULL; ++*out)
    if (weft_json_is(value, names[*out])) return WEFT_OK;
  char key[40];
  size_t length = l->json.key.length < sizeof key ? l->json.key.length : sizeof key - 1;
  memcpy(key, l->json.key.data, length);
  key[length] = 0;
  return unsupported(key, value, known, error);
}

/* Looks for "type" in the object that comes next, without moving; .data is NULL when it has none.
 */
static weft_status find_type(const loader *l, weft_json_string *type, weft_error *error) {
  loader ahead = *l;
  *type = (weft_json_string){0};
  const field fields[] = {{"type", read_raw_string, type, true}};
  return read_object(&ahead, fields, COUNT(fields), error);
}

static weft_status expect_type(const loader *l, const char *section, const char *known,
                               weft_error *error) {
  weft_json_string type;
  WEFT_TRY(find_type(l, &type, error));
  if (type.data == NULL)
    return weft_json_fail(&l->json, WEFT_INVALID_MODEL, "the object has no \"type\"", error);
  return weft_json_is(type, known) ? WEFT_OK : unsupported(section, type, known, error);
}

/* ---- truncation, padding, added tokens ------------------------------------------------------ */

static weft_status read_strategy(loader *l, void *to, weft_error *error) {
  static const char *const names[] = {"LongestFirst", "OnlyFirst", "OnlySecond", NULL};
  uint32_t choice;
  WEFT_TRY(read_choice(l, names, "LongestFirst, OnlyFirst and OnlySecond", &choice, error));
  *(weft_truncation_strategy *)to = (weft_truncation_strategy)choice;
  return WEFT_OK;
}

static weft_status read_direction(loader *l, void *to, weft_error *error) {
  static const char *const names[] = {"Right", "Left", NULL};
  uint32_t choice;
  WEFT_TRY(read_choice(l, names, "Right and Left", &choice, error));
  *(bool *)to = choice == 1;
  return WEFT_OK;
}

static weft_status read_truncation(loader *l, void *to, weft_error *error) {
  weft_truncation *truncation = to;
  bool null;
  size_t stride; /* how far the parts overlap that truncation leaves over: they are not made */
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  const field fields[] = {
      {"max_length", read_size, &truncation->max_length, false},
      {"strategy", read_strategy, &truncation->strategy, false},
      {"stride", read_size, &stride, false},
      {"direction", read_direction, &truncation->left, true},
  };
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status read_padding_strategy(loader *l, void *to, weft_error *error) {
  static const char *const names[] = {"BatchLongest", NULL};
  weft_json_kind kind;
  uint32_t choice;
  WEFT_TRY(weft_json_peek(&l->json, &kind, error));
  if (kind == WEFT_JSON_STRING)
    return read_choice(l, names, "BatchLongest and Fixed", &choice, error);
  const field fields[] = {{"Fixed", read_size, to, false}};
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status read_multiple(loader *l, void *to, weft_error *error) {
  bool null;
  WEFT_TRY(is_null(l, &null, error));
  return null ? WEFT_OK : read_size(l, to, error);
}

static weft_status read_padding(loader *l, void *to, weft_error *error) {
  weft_padding_rule *padding = to;
  bool null;
  weft_json_string token; /* the id counts */
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  const field fields[] = {
      {"strategy", read_padding_strategy, &padding->length, false},
      {"direction", read_direction, &padding->left, false},
      {"pad_to_multiple_of", read_multiple, &padding->multiple, true},
      {"pad_id", read_u32, &padding->id, false},
      {"pad_type_id", read_u32, &padding->type_id, false},
      {"pad_token", read_raw_string, &token, false},
  };
  l->tokenizer->has_padding = true;
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status read_added_token(loader *l, weft_error *error) {
  weft_added *added = &l->tokenizer->added;
  weft_added_token *token = WEFT_ARENA_PUSH(&l->tokenizer->arena, added->tokens, added->count);
  if (token == NULL) return weft_arena_fail(&l->tokenizer->arena, "the added tokens", error);
  uint32_t id; /* not used: the vocabulary decides, see added.h */
  const field fields[] = {
      {"id", read_u32, &id, false},
      {"content", read_string, &token->content, false},
      {"single_word", read_bool, &token->single_word, false},
      {"lstrip", read_bool, &token->lstrip, false},
      {"rstrip", read_bool, &token->rstrip, false},
      {"normalized", read_bool, &token->normalized, false},
      {"special", read_bool, &token->special, false},
  };
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status read_added(loader *l, void *to, weft_error *error) {
  (void)to;
  bool more;
  WEFT_TRY(weft_json_begin_array(&l->json, error));
  for (;;) {
    WEFT_TRY(weft_json_next_element(&l->json, &more, error));
    if (!more) return WEFT_OK;
    WEFT_TRY(read_added_token(l, error));
  }
}

/* ---- normalizer, pre-tokenizer, decoder ----------------------------------------------------- */

/* strip_accents: null follows lowercase. */
static weft_status read_strip_accents(loader *l, void *to, weft_error *error) {
  bool null, value;
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  WEFT_TRY(weft_json_read_bool(&l->json, &value, error));
  *(int *)to = value;
  return WEFT_OK;
}

static weft_status read_normalizer(loader *l, void *to, weft_error *error) {
  weft_normalizer *normalizer = to;
  bool null;
  int strip_accents = -1;
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  WEFT_TRY(expect_type(l, "normalizer.type", "BertNormalizer", error));
  const field fields[] = {
      {"clean_text", read_bool, &normalizer->clean_text, false},
      {"handle_chinese_chars", read_bool, &normalizer->split_chinese, false},
      {"strip_accents", read_strip_accents, &strip_accents, true},
      {"lowercase", read_bool, &normalizer->lowercase, false},
  };
  WEFT_TRY(read_object(l, fields, COUNT(fields), error));
  normalizer->strip_accents = strip_accents < 0 ? normalizer->lowercase : strip_accents == 1;
  return WEFT_OK;
}

static weft_status read_pre_tokenizer(loader *l, void *to, weft_error *error) {
  (void)to;
  bool null;
  WEFT_TRY(is_null(l, &null, error));
  if (null)
    return weft_fail(error, WEFT_UNSUPPORTED,
                     FILE_NAME ": \"pre_tokenizer\" is null; Weft knows BertPreTokenizer");
  WEFT_TRY(expect_type(l, "pre_tokenizer.type", "BertPreTokenizer", error));
  return weft_json_skip(&l->json, error);
}

static weft_status read_decoder(loader *l, void *to, weft_error *error) {
  weft_decoder *decoder = to;
  bool null;
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  WEFT_TRY(expect_type(l, "decoder.type", "WordPiece", error));
  const field fields[] = {
      {"prefix", read_string, &decoder->prefix, false},
      {"cleanup", read_bool, &decoder->cleanup, false},
  };
  decoder->present = true;
  return read_object(l, fields, COUNT(fields), error);
}

/* ---- post-processor ------------------------------------------------------------------------- */

/* A special token of a template: its name there, and the ids that it stands for. */
typedef struct {
  weft_str name;
  uint32_t *ids;
  uint32_t count;
} special;

typedef struct {
  special items[WEFT_MAX_TEMPLATE_PIECES];
  uint32_t count;
} special_list;

static weft_status read_ids(loader *l, void *to, weft_error *error) {
  special *token = to;
  bool more;
  WEFT_TRY(weft_json_begin_array(&l->json, error));
  for (;;) {
    WEFT_TRY(weft_json_next_element(&l->json, &more, error));
    if (!more) return WEFT_OK;
    uint32_t *id = WEFT_ARENA_PUSH(&l->tokenizer->arena, token->ids, token->count);
    if (id == NULL) return weft_arena_fail(&l->tokenizer->arena, "special tokens", error);
    WEFT_TRY(read_u32(l, id, error));
  }
}

static weft_status read_specials(loader *l, void *to, weft_error *error) {
  special_list *list = to;
  bool more;
  weft_json_string key;
  WEFT_TRY(weft_json_begin_object(&l->json, error));
  for (;;) {
    WEFT_TRY(weft_json_next_member(&l->json, &more, &key, error));
    if (!more) return WEFT_OK;
    if (list->count == WEFT_MAX_TEMPLATE_PIECES)
      return weft_json_fail(&l->json, WEFT_LIMIT_EXCEEDED, "more than 64 special tokens", error);
    special *token = &list->items[list->count++];
    WEFT_TRY(keep_string(l, key, &token->name, error));
    const field fields[] = {{"ids", read_ids, token, false}};
    WEFT_TRY(read_object(l, fields, COUNT(fields), error));
  }
}

/* The template that is being read, with the special tokens it may name. */
typedef struct {
  weft_template *to;
  const special_list *specials;
} template_reader;

typedef struct {
  weft_json_string id;
  uint32_t type_id;
} piece_value;

static weft_status read_piece_value(loader *l, void *to, weft_error *error) {
  piece_value *value = to;
  const field fields[] = {{"id", read_raw_string, &value->id, false},
                          {"type_id", read_u32, &value->type_id, false}};
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status too_long(const loader *l, weft_error *error) {
  return weft_json_fail(&l->json, WEFT_LIMIT_EXCEEDED, "a template has more than 64 pieces", error);
}

static weft_status add_special(loader *l, const template_reader *reader, const piece_value *value,
                               weft_error *error) {
  const special *found = NULL;
  for (uint32_t i = 0; i < reader->specials->count; i++)
    if (weft_json_is(value->id, reader->specials->items[i].name.data))
      found = &reader->specials->items[i];
  if (found == NULL)
    return weft_json_fail(&l->json, WEFT_INVALID_MODEL,
                          "the template names a token that \"special_tokens\" does not have",
                          error);
  for (uint32_t i = 0; i < found->count; i++)
    if (!weft_template_add(reader->to, WEFT_TEMPLATE_SPECIAL, found->ids[i], value->type_id))
      return too_long(l, error);
  return WEFT_OK;
}

static weft_status add_sequence(loader *l, const template_reader *reader, const piece_value *value,
                                weft_error *error) {
  bool second = weft_json_is(value->id, "B");
  if (!second && !weft_json_is(value->id, "A"))
    return weft_json_fail(&l->json, WEFT_INVALID_MODEL, "a sequence is \"A\" or \"B\"", error);
  weft_template_kind kind = second ? WEFT_TEMPLATE_PAIR : WEFT_TEMPLATE_FIRST;
  if (second && reader->to == &l->tokenizer->single)
    return weft_json_fail(&l->json, WEFT_INVALID_MODEL, "the single template names text B", error);
  for (uint32_t i = 0; i < reader->to->count; i++)
    if (reader->to->pieces[i].kind == kind)
      return weft_json_fail(&l->json, WEFT_UNSUPPORTED, "a template names a text twice", error);
  return weft_template_add(reader->to, kind, 0, value->type_id) ? WEFT_OK : too_long(l, error);
}

static weft_status read_piece(loader *l, const template_reader *reader, weft_error *error) {
  piece_value special_token = {0}, sequence = {0};
  const field fields[] = {{"SpecialToken", read_piece_value, &special_token, true},
                          {"Sequence", read_piece_value, &sequence, true}};
  WEFT_TRY(read_object(l, fields, COUNT(fields), error));
  if ((special_token.id.data == NULL) == (sequence.id.data == NULL))
    return weft_json_fail(&l->json, WEFT_INVALID_MODEL,
                          "a piece of a template is a SpecialToken or a Sequence", error);
  return special_token.id.data != NULL ? add_special(l, reader, &special_token, error)
                                       : add_sequence(l, reader, &sequence, error);
}

static weft_status read_template(loader *l, void *to, weft_error *error) {
  const template_reader *reader = to;
  bool more;
  reader->to->count = reader->to->specials = 0;
  WEFT_TRY(weft_json_begin_array(&l->json, error));
  for (;;) {
    WEFT_TRY(weft_json_next_element(&l->json, &more, error));
    if (!more) return WEFT_OK;
    WEFT_TRY(read_piece(l, reader, error));
  }
}

static weft_status read_template_processing(loader *l, weft_error *error) {
  special_list specials = {0};
  template_reader single = {&l->tokenizer->single, &specials};
  template_reader pair = {&l->tokenizer->pair, &specials};
  /* The templates name special tokens, which stand behind them: two passes. */
  loader ahead = *l;
  const field names[] = {{"special_tokens", read_specials, &specials, false}};
  WEFT_TRY(read_object(&ahead, names, COUNT(names), error));
  const field fields[] = {{"single", read_template, &single, false},
                          {"pair", read_template, &pair, false}};
  return read_object(l, fields, COUNT(fields), error);
}

/* ["[SEP]", 102] */
static weft_status read_token_and_id(loader *l, void *to, weft_error *error) {
  weft_json_string text;
  bool more;
  WEFT_TRY(weft_json_begin_array(&l->json, error));
  WEFT_TRY(weft_json_next_element(&l->json, &more, error));
  if (more) WEFT_TRY(weft_json_read_string(&l->json, &text, error));
  if (more) WEFT_TRY(weft_json_next_element(&l->json, &more, error));
  if (more) {
    WEFT_TRY(read_u32(l, to, error));
    WEFT_TRY(weft_json_next_element(&l->json, &more, error));
    if (!more) return WEFT_OK;
  }
  return weft_json_fail(&l->json, WEFT_INVALID_MODEL, "a token and its id are expected", error);
}

static weft_status read_bert_processing(loader *l, weft_error *error) {
  uint32_t cls, sep;
  const field fields[] = {{"sep", read_token_and_id, &sep, false},
                          {"cls", read_token_and_id, &cls, false}};
  WEFT_TRY(read_object(l, fields, COUNT(fields), error));
  weft_tokenizer_use_bert_template(l->tokenizer, cls, sep);
  return WEFT_OK;
}

static weft_status read_post_processor(loader *l, void *to, weft_error *error) {
  (void)to;
  bool null;
  weft_json_string type;
  WEFT_TRY(is_null(l, &null, error));
  if (null) return WEFT_OK;
  WEFT_TRY(find_type(l, &type, error));
  if (type.data != NULL && weft_json_is(type, "BertProcessing"))
    return read_bert_processing(l, error);
  WEFT_TRY(expect_type(l, "post_processor.type", "TemplateProcessing", error));
  return read_template_processing(l, error);
}

/* ---- model ---------------------------------------------------------------------------------- */

static weft_status read_vocab(loader *l, void *to, weft_error *error) {
  weft_vocab *vocab = to;
  weft_json ahead = l->json;
  weft_json_string key;
  bool more;
  uint64_t count = 0, bytes = 0;
  WEFT_TRY(weft_json_begin_object(&ahead, error));
  for (;; count++) {
    WEFT_TRY(weft_json_next_member(&ahead, &more, &key, error));
    if (!more) break;
    bytes += key.length;
    WEFT_TRY(weft_json_skip(&ahead, error));
  }
  if (count > UINT32_MAX / 2)
    return weft_json_fail(&l->json, WEFT_LIMIT_EXCEEDED, "the vocabulary is too large", error);
  WEFT_TRY(weft_vocab_reserve(vocab, &l->tokenizer->arena, (uint32_t)count, bytes, error));
  WEFT_TRY(weft_json_begin_object(&l->json, error));
  for (uint64_t i = 0; i < count; i++) {
    uint32_t id;
    WEFT_TRY(weft_json_next_member(&l->json, &more, &key, error));
    WEFT_TRY(read_u32(l, &id, error));
    weft_vocab_add(vocab, (uint32_t)weft_json_unescape(key, weft_vocab_next(vocab)), id);
  }
  return weft_json_next_member(&l->json, &more, &key, error);
}

static weft_status read_model(loader *l, void *to, weft_error *error) {
  weft_tokenizer *tokenizer = to;
  weft_json_string type;
  WEFT_TRY(find_type(l, &type, error));
  /* Old files do not name the type of this one. */
  if (type.data != NULL) WEFT_TRY(expect_type(l, "model.type", "WordPiece", error));
  const field fields[] = {
      {"unk_token", read_string, &tokenizer->unknown, false},
      {"continuing_subword_prefix", read_string, &tokenizer->prefix, false},
      {"max_input_chars_per_word", read_u32, &tokenizer->wordpiece.max_chars, false},
      {"vocab", read_vocab, &tokenizer->vocab, false},
  };
  return read_object(l, fields, COUNT(fields), error);
}

static weft_status read_version(loader *l, void *to, weft_error *error) {
  static const char *const names[] = {"1.0", NULL};
  return read_choice(l, names, "1.0", to, error);
}

weft_status weft_tokenizer_read_json(weft_tokenizer *tokenizer, const void *bytes, size_t length,
                                     weft_error *error) {
  loader l = {.json = weft_json_open(FILE_NAME, bytes, length), .tokenizer = tokenizer};
  uint32_t version;
  const field fields[] = {
      {"version", read_version, &version, true},
      {"truncation", read_truncation, &tokenizer->truncation, true},
      {"padding", read_padding, &tokenizer->padding, true},
      {"added_tokens", read_added, NULL, true},
      {"normalizer", read_normalizer, &tokenizer->normalizer, true},
      {"pre_tokenizer", read_pre_tokenizer, NULL, false},
      {"post_processor", read_post_processor, NULL, true},
      {"decoder", read_decoder, &tokenizer->decoder, true},
      {"model", read_model, tokenizer, false},
  };
  WEFT_TRY(read_object(&l, fields, COUNT(fields), error));
  WEFT_TRY(weft_json_end(&l.json, error));
  return weft_vocab_finish(&tokenizer->vocab, &tokenizer->arena, error);
}
