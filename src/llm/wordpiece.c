/* wordpiece.c - see wordpiece.h. */
#include "llm/wordpiece.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "llm/unicode.h"

/* Bytes of a builder's memory for each character that a word may have: its UTF-8, and for each of
 * those bytes a start and an end. */
enum { LIST_FIRST = 64, CHAR_MEMORY = 4 + 4 * 2 * sizeof(uint32_t) };

void weft_token_list_release(weft_token_list *list) {
  weft_heap_release(list->heap, list->items, (uint64_t)list->capacity * sizeof *list->items);
  list->items = NULL;
  list->capacity = list->count = 0;
}

bool weft_token_list_add(weft_token_list *list, weft_token token) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity == 0 ? LIST_FIRST : list->capacity * 2;
    weft_token *grown = weft_heap_allocate(list->heap, (uint64_t)capacity * sizeof *grown);
    if (grown == NULL) return false;
    size_t count = list->count;
    if (count > 0) memcpy(grown, list->items, count * sizeof *grown);
    weft_token_list_release(list);
    list->items = grown;
    list->capacity = capacity;
    list->count = count;
  }
  list->items[list->count++] = token;
  return true;
}

weft_status weft_word_builder_open(weft_word_builder *builder, const weft_wordpiece *model,
                                   weft_token_list *list, weft_error *error) {
  uint64_t bytes = (uint64_t)model->max_chars * CHAR_MEMORY;
  *builder = (weft_word_builder){.model = model, .list = list};
  builder->starts = weft_heap_allocate(list->heap, bytes);
  if (builder->starts == NULL) return weft_heap_fail(list->heap, bytes, "a word buffer", error);
  builder->ends = builder->starts + (size_t)model->max_chars * 4;
  builder->text = (uint8_t *)(builder->ends + (size_t)model->max_chars * 4);
  return WEFT_OK;
}

void weft_word_builder_close(weft_word_builder *builder) {
  weft_heap_release(builder->list->heap, builder->starts,
                    (uint64_t)builder->model->max_chars * CHAR_MEMORY);
}

/* The longest piece that starts at byte `at` of the word: its end, 0 when there is none. */
static uint32_t longest_piece(const weft_word_builder *b, uint32_t at, uint32_t *id) {
  const weft_trie *trie = b->model->trie;
  uint32_t node = at == 0 ? 0 : b->model->continuation, end = 0;
  if (node == WEFT_TRIE_NONE) return 0;
  for (uint32_t i = at; i < b->bytes; i++) {
    node = weft_trie_step(trie, node, b->text[i]);
    if (node == 0) break;
    if (trie->value[node] == WEFT_TRIE_NONE) continue;
    *id = trie->value[node];
    end = i + 1;
  }
  return end;
}

/* Adds the pieces of the word; false when some part of it is not in the vocabulary. */
static bool add_pieces(weft_word_builder *b) {
  uint32_t id = 0;
  for (uint32_t at = 0, end; at < b->bytes; at = end) {
    end = longest_piece(b, at, &id);
    if (end == 0) return false;
    weft_token token = {id, b->starts[at], b->ends[end - 1]};
    if (!weft_token_list_add(b->list, token)) b->status = WEFT_OUT_OF_MEMORY;
    if (b->status != WEFT_OK) return true;
  }
  return true;
}

static void add_unknown(weft_word_builder *b) {
  uint32_t id = b->model->unknown_id;
  weft_token token = {id, b->start, b->end};
  if (id == WEFT_TRIE_NONE)
    b->status = WEFT_INVALID_DATA;
  else if (!weft_token_list_add(b->list, token))
    b->status = WEFT_OUT_OF_MEMORY;
}

bool weft_word_builder_flush(weft_word_builder *b) {
  if (b->chars == 0) return b->status == WEFT_OK;
  size_t before = b->list->count;
  if (b->chars > b->model->max_chars || !add_pieces(b)) {
    b->list->count = before;
    add_unknown(b);
  }
  b->bytes = b->chars = 0;
  return b->status == WEFT_OK && b->list->count < b->list->limit;
}

static void append(weft_word_builder *b, weft_char c) {
  if (b->chars == 0) b->start = c.start;
  b->end = c.end;
  if (b->chars == b->model->max_chars) b->chars++;
  if (b->chars > b->model->max_chars) return;
  b->chars++;
  uint32_t length = weft_utf8_encode(c.code, b->text + b->bytes);
  for (uint32_t end = b->bytes + length; b->bytes < end; b->bytes++) {
    b->starts[b->bytes] = c.start;
    b->ends[b->bytes] = c.end;
  }
}

bool weft_word_builder_put(void *builder, weft_char c) {
  weft_word_builder *b = builder;
  if (c.properties & WEFT_CHAR_SPACE) return weft_word_builder_flush(b);
  if (!(c.properties & WEFT_CHAR_PUNCTUATION)) {
    append(b, c);
    return true;
  }
  if (!weft_word_builder_flush(b)) return false;
  append(b, c);
  return weft_word_builder_flush(b);
}
