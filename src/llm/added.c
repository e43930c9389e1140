/* added.c - see added.h. Of several tokens the one that starts first counts, then the longest. */
#include "llm/added.h"

#include "base/sort.h"
#include "base/utf8.h"
#include "llm/unicode.h"

/* ---- making --------------------------------------------------------------------------------- */

/* Collects normalized text: a character sink. */
typedef struct {
  uint8_t *text;
  uint32_t length, size;
} collector;

static bool collect(void *user, weft_char c) {
  collector *to = user;
  if (to->size - to->length < 4) return false;
  to->length += weft_utf8_encode(c.code, to->text + to->length);
  return true;
}

static weft_status make_pattern(weft_added_token *token, weft_arena *arena,
                                const weft_normalizer *normalizer, weft_error *error) {
  token->pattern = token->content;
  if (!token->normalized) return WEFT_OK;
  /* A byte becomes at most one character of up to 4 bytes, and two blanks around it. */
  collector to = {.size = token->content.length * 6 + 4};
  to.text = weft_arena_allocate(arena, to.size);
  if (to.text == NULL) return weft_arena_fail(arena, "an added token", error);
  weft_status status = WEFT_OK;
  weft_normalize(normalizer, arena->heap, (const uint8_t *)token->content.data, 0,
                 token->content.length, (weft_char_sink){collect, &to}, &status);
  if (status != WEFT_OK) return weft_arena_fail(arena, "an added token", error);
  token->pattern = (weft_str){(const char *)to.text, to.length};
  return WEFT_OK;
}

static weft_status make_set(weft_added *added, weft_added_set *set, bool normalized,
                            weft_arena *arena, weft_arena *scratch, weft_error *error) {
  weft_str *keys = WEFT_ARENA_ARRAY(scratch, weft_str, added->count);
  uint32_t *values = WEFT_ARENA_ARRAY(scratch, uint32_t, added->count);
  if (keys == NULL || values == NULL) return weft_arena_fail(scratch, "the added tokens", error);
  uint32_t count = 0;
  for (uint32_t i = 0; i < added->count; i++) {
    const weft_added_token *token = &added->tokens[i];
    if (token->normalized != normalized || token->pattern.length == 0) continue;
    set->first[(uint8_t)token->pattern.data[0]] = true;
    keys[count] = token->pattern;
    values[count++] = i;
  }
  set->empty = count == 0;
  return weft_trie_build(&set->trie, arena, keys, values, count, error);
}

/* Drops empty tokens, and of those with the same content all but the last, which keeps the place.
 */
static weft_status drop_repeated(weft_added *added, weft_arena *scratch, weft_error *error) {
  weft_trie trie;
  weft_str *keys = WEFT_ARENA_ARRAY(scratch, weft_str, added->count);
  uint32_t *values = WEFT_ARENA_ARRAY(scratch, uint32_t, added->count);
  uint32_t *place = WEFT_ARENA_ARRAY(scratch, uint32_t, added->count);
  if (keys == NULL || values == NULL || place == NULL)
    return weft_arena_fail(scratch, "the added tokens", error);
  for (uint32_t i = 0; i < added->count; i++) {
    keys[i] = added->tokens[i].content;
    values[i] = i;
    place[i] = WEFT_TRIE_NONE;
  }
  WEFT_TRY(weft_trie_build(&trie, scratch, keys, values, added->count, error));
  uint32_t kept = 0;
  for (uint32_t i = 0; i < added->count; i++) {
    if (added->tokens[i].content.length == 0) continue;
    uint32_t last = trie.value[weft_trie_walk(&trie, keys[i])];
    if (place[last] == WEFT_TRIE_NONE) place[last] = kept++;
    added->tokens[place[last]] = added->tokens[i];
  }
  added->count = kept;
  return WEFT_OK;
}

static bool id_less(const void *user, uint32_t a, uint32_t b) {
  const weft_added_token *tokens = user;
  return tokens[a].id < tokens[b].id;
}

static weft_status sort_by_id(weft_added *added, weft_arena *arena, weft_arena *scratch,
                              weft_error *error) {
  uint32_t *spare = WEFT_ARENA_ARRAY(scratch, uint32_t, added->count);
  added->by_id = WEFT_ARENA_ARRAY(arena, uint32_t, added->count);
  if (spare == NULL || added->by_id == NULL)
    return weft_arena_fail(arena, "the added tokens", error);
  weft_sort_indices(added->by_id, spare, added->count, id_less, added->tokens);
  return WEFT_OK;
}

static weft_status finish(weft_added *added, weft_arena *arena, weft_arena *scratch,
                          weft_vocab *vocab, const weft_normalizer *normalizer, weft_error *error) {
  WEFT_TRY(drop_repeated(added, scratch, error));
  uint32_t next_id = vocab->distinct;
  for (uint32_t i = 0; i < added->count; i++) {
    weft_added_token *token = &added->tokens[i];
    if (token->content.length > WEFT_MAX_ADDED_TOKEN_BYTES)
      return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                       "added token %u is longer than %u bytes: \"%.*s...\"", i,
                       WEFT_MAX_ADDED_TOKEN_BYTES, 40, token->content.data);
    token->id = weft_vocab_find(vocab, token->content);
    if (token->id == WEFT_TRIE_NONE) token->id = next_id++;
    if (token->id >= vocab->id_end) vocab->id_end = token->id + 1;
    WEFT_TRY(make_pattern(token, arena, normalizer, error));
  }
  WEFT_TRY(sort_by_id(added, arena, scratch, error));
  WEFT_TRY(make_set(added, &added->raw, false, arena, scratch, error));
  return make_set(added, &added->normalized, true, arena, scratch, error);
}

weft_status weft_added_finish(weft_added *added, weft_arena *arena, weft_vocab *vocab,
                              const weft_normalizer *normalizer, weft_error *error) {
  weft_arena scratch;
  weft_arena_init(&scratch, arena->heap);
  weft_status status = finish(added, arena, &scratch, vocab, normalizer, error);
  weft_arena_release(&scratch);
  return status;
}

const weft_added_token *weft_added_find(const weft_added *added, weft_str content) {
  for (uint32_t i = 0; i < added->count; i++)
    if (weft_str_equal(added->tokens[i].content, content)) return &added->tokens[i];
  return NULL;
}

const weft_added_token *weft_added_by_id(const weft_added *added, uint32_t id) {
  uint32_t low = 0, count = added->count;
  if (count == 0) return NULL;
  while (count > 1) {
    uint32_t half = count / 2;
    if (added->tokens[added->by_id[low + half]].id <= id) low += half;
    count -= half;
  }
  const weft_added_token *token = &added->tokens[added->by_id[low]];
  return token->id == id ? token : NULL;
}

/* ---- looking -------------------------------------------------------------------------------- */

weft_added_scan weft_added_open(const weft_added *added, const weft_added_set *set,
                                const uint8_t *text, size_t length) {
  return (weft_added_scan){.added = added, .set = set, .text = text, .length = length};
}

/* The longest pattern at the first place from scan->at that has one. */
static bool find_match(weft_added_scan *scan, weft_piece *out) {
  const weft_trie *trie = &scan->set->trie;
  for (size_t start = scan->at; start < scan->length; start++) {
    if (!scan->set->first[scan->text[start]]) continue;
    uint32_t node = 0;
    *out = (weft_piece){.start = start};
    for (size_t i = start; i < scan->length; i++) {
      node = weft_trie_step(trie, node, scan->text[i]);
      if (node == 0) break;
      if (trie->value[node] == WEFT_TRIE_NONE) continue;
      out->end = i + 1;
      out->token = &scan->added->tokens[trie->value[node]];
    }
    if (out->token != NULL) return true;
  }
  return false;
}

static bool word_before(const weft_added_scan *scan, size_t at) {
  return at > 0 && weft_unicode_class(weft_utf8_decode_last(scan->text, scan->text + at).code) &
                       WEFT_CHAR_WORD;
}

static bool word_behind(const weft_added_scan *scan, size_t at) {
  const uint8_t *text = scan->text;
  return at < scan->length &&
         weft_unicode_class(weft_utf8_decode(text + at, text + scan->length).code) & WEFT_CHAR_WORD;
}

/* The start of the white space that ends at `at`, not before the last part's end. */
static size_t space_before(const weft_added_scan *scan, size_t at) {
  while (at > scan->done) {
    weft_utf8_char before = weft_utf8_decode_last(scan->text + scan->done, scan->text + at);
    if (!(weft_unicode_class(before.code) & WEFT_CHAR_SPACE)) break;
    at -= before.length;
  }
  return at < scan->done ? scan->done : at;
}

/* The end of the white space that begins at `at`. Matches may follow each other inside one run,
 * which is walked once. */
static size_t space_behind(weft_added_scan *scan, size_t at) {
  if (at < scan->space_end) return scan->space_end;
  while (at < scan->length) {
    weft_utf8_char next = weft_utf8_decode(scan->text + at, scan->text + scan->length);
    if (!(weft_unicode_class(next.code) & WEFT_CHAR_SPACE)) break;
    at += next.length;
  }
  return scan->space_end = at;
}

/* The next match that its token's flags allow, with the white space that belongs to it. */
static bool find_token(weft_added_scan *scan, weft_piece *out) {
  while (!scan->set->empty && find_match(scan, out)) {
    scan->at = out->end;
    if (out->token->single_word && (word_before(scan, out->start) || word_behind(scan, out->end)))
      continue;
    if (out->token->lstrip) out->start = space_before(scan, out->start);
    if (out->token->rstrip) out->end = space_behind(scan, out->end);
    return true;
  }
  return false;
}

bool weft_added_next(weft_added_scan *scan, weft_piece *out) {
  if (scan->waiting.token != NULL) {
    *out = scan->waiting;
    scan->waiting.token = NULL;
    return true;
  }
  weft_piece found = {scan->length, scan->length, NULL};
  size_t done = scan->done;
  bool token = find_token(scan, &found);
  if (!token) {
    found = (weft_piece){scan->length, scan->length, NULL};
    scan->at = scan->length;
  }
  scan->done = found.end;
  if (done < found.start) {
    scan->waiting = found;
    *out = (weft_piece){done, found.start, NULL};
    return true;
  }
  *out = found;
  return token;
}
