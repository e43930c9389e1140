/* vocab_txt.c - reads BERT's vocab.txt: one token in a line, with BERT's usual settings around. */
#include "base/utf8.h"
#include "llm/tokenizer.h"
#include "llm/unicode.h"

#define FILE_NAME "vocab.txt"

/* [begin, end) is a line without its trailing white space; `next` begins the one behind it. */
typedef struct {
  size_t begin, end, next;
} text_line;

static weft_status find_line(const uint8_t *bytes, size_t length, size_t begin, text_line *out,
                             weft_error *error) {
  *out = (text_line){begin, begin, length};
  for (size_t at = begin; at < length;) {
    weft_utf8_char c = weft_utf8_decode(bytes + at, bytes + length);
    if (!c.valid)
      return weft_fail(error, WEFT_INVALID_MODEL, FILE_NAME ": invalid UTF-8 at byte %llu",
                       (unsigned long long)at);
    at += c.length;
    if (!(weft_unicode_class(c.code) & WEFT_CHAR_SPACE)) out->end = at;
    if (c.code != '\n') continue;
    out->next = at;
    break;
  }
  return WEFT_OK;
}

static weft_status read_lines(weft_tokenizer *tokenizer, const uint8_t *bytes, size_t length,
                              weft_error *error) {
  uint32_t count = 0;
  uint64_t total = 0;
  text_line line;
  if (length > WEFT_MAX_TOKEN_ID)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, FILE_NAME ": larger than 2 GiB");
  for (size_t at = 0; at < length; at = line.next, count++) {
    WEFT_TRY(find_line(bytes, length, at, &line, error));
    total += line.end - line.begin;
  }
  weft_vocab *vocab = &tokenizer->vocab;
  WEFT_TRY(weft_vocab_reserve(vocab, &tokenizer->arena, count, total, error));
  for (size_t at = 0; at < length; at = line.next) {
    WEFT_TRY(find_line(bytes, length, at, &line, error));
    memcpy(weft_vocab_next(vocab), bytes + line.begin, line.end - line.begin);
    weft_vocab_add(vocab, (uint32_t)(line.end - line.begin), vocab->count);
  }
  return weft_vocab_finish(vocab, &tokenizer->arena, error);
}

/* BERT's special tokens, as far as the vocabulary has them. */
static weft_status add_specials(weft_tokenizer *tokenizer, weft_error *error) {
  static const char *const names[] = {"[UNK]", "[SEP]", "[CLS]", "[PAD]", "[MASK]"};
  weft_added *added = &tokenizer->added;
  added->tokens =
      WEFT_ARENA_ARRAY(&tokenizer->arena, weft_added_token, sizeof names / sizeof *names);
  if (added->tokens == NULL) return weft_arena_fail(&tokenizer->arena, "added tokens", error);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    weft_str name = weft_str_of(names[i]);
    if (weft_vocab_find(&tokenizer->vocab, name) != WEFT_TRIE_NONE)
      added->tokens[added->count++] = (weft_added_token){.content = name, .special = true};
  }
  return WEFT_OK;
}

weft_status weft_tokenizer_read_vocab_txt(weft_tokenizer *tokenizer, const void *bytes,
                                          size_t length, const weft_tokenizer_options *options,
                                          weft_error *error) {
  bool strip = options->strip_accents < 0 ? options->lowercase : options->strip_accents == 1;
  tokenizer->normalizer = (weft_normalizer){.clean_text = options->clean_text,
                                            .split_chinese = options->split_chinese,
                                            .strip_accents = strip,
                                            .lowercase = options->lowercase};
  tokenizer->unknown = WEFT_STR("[UNK]");
  tokenizer->prefix = WEFT_STR("##");
  tokenizer->wordpiece.max_chars = 100;
  tokenizer->decoder = (weft_decoder){true, true, WEFT_STR("##")};
  WEFT_TRY(read_lines(tokenizer, bytes, length, error));
  WEFT_TRY(add_specials(tokenizer, error));
  uint32_t cls = weft_vocab_find(&tokenizer->vocab, WEFT_STR("[CLS]"));
  uint32_t sep = weft_vocab_find(&tokenizer->vocab, WEFT_STR("[SEP]"));
  if (cls == WEFT_TRIE_NONE || sep == WEFT_TRIE_NONE)
    return weft_fail(error, WEFT_INVALID_MODEL, FILE_NAME ": there is no token %s",
                     cls == WEFT_TRIE_NONE ? "[CLS]" : "[SEP]");
  weft_tokenizer_use_bert_template(tokenizer, cls, sep);
  return WEFT_OK;
}
