/* encode.c - texts to rows of ids: cuts out added tokens, normalizes and splits what is between,
 * truncates, fills the template, pads. */
#include "base/utf8.h"
#include "llm/tokenizer.h"
#include "llm/unicode.h"

weft_encode_options weft_encode_options_default(void) {
  return (weft_encode_options){.add_special_tokens = true};
}

/* One call's state. */
typedef struct {
  const weft_tokenizer *tokenizer;
  weft_heap *heap;
  weft_truncation truncation;
  bool add_special_tokens;
  weft_token_list lists[2]; /* the tokens of the text and of its pair */
  weft_word_builder words;
  weft_error *error;
} encoder;

/* ---- one text to tokens --------------------------------------------------------------------- */

/* The normalized text between two added tokens, where more of them are to be looked for; a
 * character sink. */
typedef struct {
  weft_heap *heap;
  uint8_t *text;
  uint32_t *starts, *ends; /* for each byte, where its character came from */
  size_t length, capacity;
  bool failed;
} normalized_text;

enum { NORMALIZED_FIRST = 1024, NORMALIZED_BYTE = 1 + 2 * sizeof(uint32_t) };

static bool grow_normalized(normalized_text *to) {
  normalized_text grown = *to;
  grown.capacity = to->capacity == 0 ? NORMALIZED_FIRST : to->capacity * 2;
  grown.starts = weft_heap_allocate(to->heap, (uint64_t)grown.capacity * NORMALIZED_BYTE);
  if (grown.starts == NULL) return false;
  grown.ends = grown.starts + grown.capacity;
  grown.text = (uint8_t *)(grown.ends + grown.capacity);
  if (to->length > 0) {
    memcpy(grown.starts, to->starts, to->length * sizeof *to->starts);
    memcpy(grown.ends, to->ends, to->length * sizeof *to->ends);
    memcpy(grown.text, to->text, to->length);
  }
  weft_heap_release(to->heap, to->starts, (uint64_t)to->capacity * NORMALIZED_BYTE);
  *to = grown;
  return true;
}

static bool keep_normalized(void *user, weft_char c) {
  normalized_text *to = user;
  if (to->capacity - to->length < 4 && !grow_normalized(to)) {
    to->failed = true;
    return false;
  }
  size_t end = to->length + weft_utf8_encode(c.code, to->text + to->length);
  for (; to->length < end; to->length++) {
    to->starts[to->length] = c.start;
    to->ends[to->length] = c.end;
  }
  return true;
}

static weft_status failure(encoder *e, weft_status status) {
  if (status == WEFT_INVALID_DATA)
    return weft_fail(e->error, status,
                     "a word is not in the vocabulary, which has no token \"%.*s\" either",
                     WEFT_STR_ARGS(e->tokenizer->unknown));
  return weft_fail(e->error, status, "out of memory: encoding a text");
}

static weft_status add_token(encoder *e, const weft_added_token *token, uint32_t start,
                             uint32_t end) {
  weft_token made = {token->id, start, end};
  return weft_token_list_add(e->words.list, made) ? WEFT_OK : failure(e, WEFT_OUT_OF_MEMORY);
}

/* What a stopped character stream means: `going` false without a failure is the list's limit. */
static weft_status end_piece(encoder *e, bool going, weft_status status, bool *more) {
  if (going) going = weft_word_builder_flush(&e->words);
  if (status == WEFT_OK) status = e->words.status;
  *more = going;
  return status == WEFT_OK ? WEFT_OK : failure(e, status);
}

/* Characters [begin, end) of a normalized text to words. */
static weft_status split_normalized(encoder *e, const normalized_text *from, size_t begin,
                                    size_t end, bool *more) {
  bool going = true;
  for (size_t at = begin; at < end && going;) {
    weft_utf8_char c = weft_utf8_decode(from->text + at, from->text + end);
    going = weft_word_builder_put(&e->words, (weft_char){c.code, from->starts[at], from->ends[at],
                                                         weft_unicode_class(c.code)});
    at += c.length;
  }
  return end_piece(e, going, WEFT_OK, more);
}

static weft_status split_added_normalized(encoder *e, const normalized_text *text, bool *more) {
  const weft_added *added = &e->tokenizer->added;
  weft_added_scan scan = weft_added_open(added, &added->normalized, text->text, text->length);
  weft_piece piece;
  while (*more && weft_added_next(&scan, &piece)) {
    if (piece.token == NULL)
      WEFT_TRY(split_normalized(e, text, piece.start, piece.end, more));
    else
      WEFT_TRY(add_token(e, piece.token, text->starts[piece.start], text->ends[piece.end - 1]));
  }
  return WEFT_OK;
}

/* Bytes [begin, end) of the text, which have no raw added token. */
static weft_status encode_piece(encoder *e, const uint8_t *text, size_t begin, size_t end,
                                bool *more) {
  const weft_tokenizer *t = e->tokenizer;
  weft_status status = WEFT_OK;
  if (t->added.normalized.empty) {
    weft_char_sink words = {weft_word_builder_put, &e->words};
    bool going = weft_normalize(&t->normalizer, e->heap, text, begin, end, words, &status);
    return end_piece(e, going, status, more);
  }
  normalized_text normalized = {.heap = e->heap};
  weft_char_sink keep = {keep_normalized, &normalized};
  weft_normalize(&t->normalizer, e->heap, text, begin, end, keep, &status);
  if (normalized.failed || status != WEFT_OK)
    status = failure(e, WEFT_OUT_OF_MEMORY);
  else
    status = split_added_normalized(e, &normalized, more);
  weft_heap_release(e->heap, normalized.starts, (uint64_t)normalized.capacity * NORMALIZED_BYTE);
  return status;
}

/* Stops at the end of the word that reaches `limit` tokens. */
static weft_status encode_text(encoder *e, const char *text, size_t length, bool pair,
                               size_t limit) {
  const weft_added *added = &e->tokenizer->added;
  const uint8_t *bytes = (const uint8_t *)text;
  weft_added_scan scan = weft_added_open(added, &added->raw, bytes, length);
  weft_piece piece;
  bool more = true;
  e->words.list = &e->lists[pair];
  e->words.list->limit = limit;
  while (more && weft_added_next(&scan, &piece)) {
    if (piece.token == NULL)
      WEFT_TRY(encode_piece(e, bytes, piece.start, piece.end, &more));
    else
      WEFT_TRY(add_token(e, piece.token, (uint32_t)piece.start, (uint32_t)piece.end));
  }
  return WEFT_OK;
}

/* ---- truncation ----------------------------------------------------------------------------- */

/* A part of a list. */
typedef struct {
  const weft_token *items;
  size_t count;
} token_range;

static void cut(token_range *range, size_t count, bool left) {
  if (count >= range->count) return;
  if (left) range->items += range->count - count;
  range->count = count;
}

/* Both texts to `room` tokens: the shorter one keeps its length as long as that is below a half. */
static void cut_longest_first(token_range ranges[2], size_t room, bool left) {
  bool swapped = ranges[0].count > ranges[1].count;
  size_t shorter = ranges[swapped].count, longer;
  if (shorter > room)
    longer = shorter;
  else
    longer = shorter > room - shorter ? shorter : room - shorter;
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  cut(&ranges[swapped], shorter, left);
  cut(&ranges[!swapped], longer, left);
}

static weft_status truncate(const encoder *e, token_range ranges[2], bool pair, size_t specials) {
  const weft_truncation *truncation = &e->truncation;
  size_t total = ranges[0].count + ranges[1].count;
  if (truncation->max_length == WEFT_NO_TRUNCATION) return WEFT_OK;
  if (truncation->max_length < specials)
    return weft_fail(e->error, WEFT_INVALID_ARGUMENT,
                     "max_length is %zu, but there are %zu special tokens", truncation->max_length,
                     specials);
  size_t room = truncation->max_length - specials;
  if (total <= room) return WEFT_OK;
  if (truncation->strategy == WEFT_TRUNCATE_LONGEST_FIRST || room == 0) {
    if (pair)
      cut_longest_first(ranges, room, truncation->left);
    else
      cut(&ranges[0], room, truncation->left);
    return WEFT_OK;
  }
  bool second = truncation->strategy == WEFT_TRUNCATE_ONLY_SECOND;
  if (ranges[second].count <= total - room)
    return weft_fail(e->error, WEFT_INVALID_DATA,
                     "the %s text would have to lose %zu tokens, but has only %zu",
                     second ? "second" : "first", total - room, ranges[second].count);
  cut(&ranges[second], ranges[second].count - (total - room), truncation->left);
  return WEFT_OK;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void store(void *array, weft_dtype dtype, size_t index, uint32_t value) {
  if (array == NULL) return;
  if (dtype == WEFT_I64)
    ((int64_t *)array)[index] = value;
  else
    ((int32_t *)array)[index] = (int32_t)value;
}

static void store_token(const weft_encoding *out, size_t at, weft_token token, uint32_t type_id,
                        bool attended) {
  store(out->ids, out->dtype, at, token.id);
  store(out->type_ids, out->dtype, at, type_id);
  store(out->attention_mask, out->dtype, at, attended);
  if (out->spans != NULL) out->spans[at] = (weft_token_span){token.start, token.end};
}

/* Writes the row from element `at` as far as `room` goes; returns how long it is. */
static size_t fill_row(const encoder *e, const weft_template *template, const token_range ranges[2],
                       const weft_encoding *out, size_t at, size_t room) {
  size_t length = 0;
  for (uint32_t i = 0; i < template->count; i++) {
    const weft_template_piece *piece = &template->pieces[i];
    weft_token special = {.id = piece->id};
    token_range range = {&special, e->add_special_tokens};
    if (piece->kind != WEFT_TEMPLATE_SPECIAL) range = ranges[piece->kind == WEFT_TEMPLATE_PAIR];
    for (size_t k = 0; k < range.count; k++, length++)
      if (length < room) store_token(out, at + length, range.items[k], piece->type_id, true);
  }
  return length;
}

/* Encodes one input; `length` is what its row needs. */
static weft_status encode_row(encoder *e, const weft_encode_input *input, const weft_encoding *out,
                              size_t at, size_t room, size_t *length) {
  bool pair = input->pair != NULL;
  const weft_template *template = pair ? &e->tokenizer->pair : &e->tokenizer->single;
  if ((input->text == NULL && input->length > 0) || input->length > UINT32_MAX - 8 ||
      input->pair_length > UINT32_MAX - 8)
    return weft_fail(e->error, WEFT_INVALID_ARGUMENT, "a text is NULL or longer than 4 GiB");
  e->lists[0].count = e->lists[1].count = 0;
  bool whole = pair || e->truncation.left; /* the ends or the lengths of both count */
  size_t limit = whole ? WEFT_NO_TRUNCATION : e->truncation.max_length;
  WEFT_TRY(encode_text(e, input->text, input->length, false, limit));
  if (pair) WEFT_TRY(encode_text(e, input->pair, input->pair_length, true, limit));
  token_range ranges[2] = {{e->lists[0].items, e->lists[0].count},
                           {e->lists[1].items, e->lists[1].count}};
  WEFT_TRY(truncate(e, ranges, pair, e->add_special_tokens ? template->specials : 0));
  *length = fill_row(e, template, ranges, out, at, room);
  return WEFT_OK;
}

/* ---- padding -------------------------------------------------------------------------------- */

static void move_row(void *array, size_t element, size_t to, size_t from, size_t count) {
  if (array != NULL)
    memmove((char *)array + to * element, (char *)array + from * element, count * element);
}

/* Moves row by row together, from rows `room` apart to rows out->length apart, and pads. */
static void pad_rows(const weft_tokenizer *t, const weft_encoding *out, const size_t *lengths,
                     size_t count, size_t room) {
  size_t element = weft_dtype_size(out->dtype);
  weft_token pad = {.id = t->padding.id};
  for (size_t row = 0; row < count; row++) {
    size_t missing = out->length - lengths[row], start = row * out->length;
    size_t to = start + (t->padding.left ? missing : 0);
    move_row(out->ids, element, to, row * room, lengths[row]);
    move_row(out->type_ids, element, to, row * room, lengths[row]);
    move_row(out->attention_mask, element, to, row * room, lengths[row]);
    move_row(out->spans, sizeof *out->spans, to, row * room, lengths[row]);
    size_t at = t->padding.left ? start : to + lengths[row];
    for (size_t i = 0; i < missing; i++) store_token(out, at + i, pad, t->padding.type_id, false);
  }
}

static size_t padded_length(const weft_tokenizer *t, weft_padding padding, const size_t *lengths,
                            size_t count) {
  size_t longest = 0;
  for (size_t i = 0; i < count; i++)
    if (lengths[i] > longest) longest = lengths[i];
  if (padding != WEFT_PAD_FILE) return longest;
  size_t multiple = t->padding.multiple;
  if (longest < t->padding.length) longest = t->padding.length;
  return multiple > 0 ? (longest + multiple - 1) / multiple * multiple : longest;
}

static weft_status encode_rows(encoder *e, const weft_encode_input *inputs, size_t count,
                               weft_padding padding, size_t *lengths, weft_encoding *out) {
  bool query = out->ids == NULL && out->type_ids == NULL && out->attention_mask == NULL &&
               out->spans == NULL;
  size_t room = query ? 0 : out->capacity / count;
  for (size_t i = 0; i < count; i++)
    WEFT_TRY(encode_row(e, &inputs[i], out, i * room, room, &lengths[i]));
  out->length = padded_length(e->tokenizer, padding, lengths, count);
  if (query) return WEFT_OK;
  if (out->length > room)
    return weft_fail(e->error, WEFT_LIMIT_EXCEEDED,
                     "%zu rows need %zu tokens each, but there is room for %zu", count, out->length,
                     room);
  pad_rows(e->tokenizer, out, lengths, count, room);
  return WEFT_OK;
}

static weft_status encode(encoder *e, const weft_encode_input *inputs, size_t count,
                          weft_padding padding, weft_encoding *out) {
  uint64_t bytes = (uint64_t)count * sizeof(size_t);
  WEFT_TRY(weft_word_builder_open(&e->words, &e->tokenizer->wordpiece, &e->lists[0], e->error));
  size_t *lengths = weft_heap_allocate(e->heap, bytes);
  weft_status status = lengths == NULL ? weft_heap_fail(e->heap, bytes, "row lengths", e->error)
                                       : encode_rows(e, inputs, count, padding, lengths, out);
  weft_heap_release(e->heap, lengths, bytes);
  weft_word_builder_close(&e->words);
  for (int i = 0; i < 2; i++) weft_token_list_release(&e->lists[i]);
  return status;
}

weft_status weft_tokenizer_encode(const weft_tokenizer *tokenizer, const weft_encode_input *inputs,
                                  size_t count, const weft_encode_options *options,
                                  weft_encoding *out, weft_error *error) {
  weft_encode_options chosen = options != NULL ? *options : weft_encode_options_default();
  if (tokenizer == NULL || out == NULL || inputs == NULL || count == 0 || count > SIZE_MAX / 64)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_tokenizer_encode: nothing to encode");
  out->length = 0;
  if (out->dtype != WEFT_I64 && out->dtype != WEFT_I32)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "an encoding is of i64 or i32, not %s",
                     weft_dtype_name(out->dtype));
  weft_heap *heap = (weft_heap *)&tokenizer->heap; /* its counters are atomic */
  encoder e = {.tokenizer = tokenizer,
               .heap = heap,
               .truncation = tokenizer->truncation,
               .add_special_tokens = chosen.add_special_tokens,
               .lists = {{.heap = heap}, {.heap = heap}},
               .error = error};
  if (chosen.max_length != 0) e.truncation.max_length = chosen.max_length;
  return encode(&e, inputs, count, chosen.padding, out);
}
