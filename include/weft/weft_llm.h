/* weft_llm.h - text in and out of language models: tokenizers.
 *
 * The rules of weft.h hold here too: open and close, status and error, ownership. A tokenizer does
 * not change after it is open, so that several threads may use one at the same time.
 */
#ifndef WEFT_WEFT_LLM_H
#define WEFT_WEFT_LLM_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizer ------------------------------------------------------------------------------ */

/* Text to token ids and back. Today: WordPiece with BERT's normalization and word splitting,
 * exactly as the `tokenizers` package does it. */
typedef struct weft_tokenizer weft_tokenizer;

typedef enum weft_tokenizer_format {
  WEFT_TOKENIZER_AUTO = 0,      /* JSON when the bytes begin like an object */
  WEFT_TOKENIZER_JSON = 1,      /* Hugging Face tokenizer.json; it holds all settings */
  WEFT_TOKENIZER_VOCAB_TXT = 2, /* one token in a line, the id is the line number from 0 */
} weft_tokenizer_format;

/* The switches are those of a vocab.txt, which cannot say them. */
typedef struct weft_tokenizer_options {
  weft_tokenizer_format format;
  bool lowercase;
  int strip_accents;  /* 1 yes, 0 no, -1 as `lowercase` */
  bool clean_text;    /* drop control characters, every white space is a blank */
  bool split_chinese; /* each ideograph is a word */
} weft_tokenizer_options;

/* AUTO; lowercase -1 for the accents, cleaning, ideographs split: BERT uncased. */
weft_tokenizer_options weft_tokenizer_options_default(void);

/* Reads `length` bytes, which may go afterwards. `options` may be NULL. WEFT_UNSUPPORTED names the
 * setting and its value; WEFT_INVALID_MODEL and WEFT_LIMIT_EXCEEDED the byte and the cause. */
weft_status weft_tokenizer_open(weft_runtime *runtime, const void *bytes, size_t length,
                                const weft_tokenizer_options *options, weft_tokenizer **out,
                                weft_error *error);
void weft_tokenizer_close(weft_tokenizer **tokenizer);

typedef struct weft_tokenizer_info {
  uint32_t vocab_size;                             /* all ids are below */
  int64_t unk_id, cls_id, sep_id, pad_id, mask_id; /* of [UNK] or what stands for it, [CLS], [SEP],
                                                      the padding token, [MASK]; -1: none */
  uint32_t special_single, special_pair;           /* tokens added around one text, around two */
  size_t max_length;                               /* the file's truncation; 0: none */
  size_t pad_length, pad_multiple;                 /* the file's padding; 0: none */
  bool pads_left, lowercase;
} weft_tokenizer_info;

void weft_tokenizer_describe(const weft_tokenizer *tokenizer, weft_tokenizer_info *out);
/* The text of a token, with a final NUL, as long as the tokenizer lives. */
weft_status weft_tokenizer_token(const weft_tokenizer *tokenizer, int64_t id, const char **text,
                                 size_t *length);
/* The id of the token with exactly this text, or -1. */
int64_t weft_tokenizer_find(const weft_tokenizer *tokenizer, const char *text, size_t length);

/* One text, or a pair. Any bytes: invalid UTF-8 is read as U+FFFD. Up to 4 GiB each. */
typedef struct weft_encode_input {
  const char *text;
  size_t length;
  const char *pair; /* NULL: none */
  size_t pair_length;
} weft_encode_input;

#define WEFT_NO_TRUNCATION SIZE_MAX

typedef enum weft_padding {
  WEFT_PAD_LONGEST = 0, /* all rows as long as the longest */
  WEFT_PAD_FILE = 1,    /* at least as long as the padding section of tokenizer.json says */
} weft_padding;

typedef struct weft_encode_options {
  bool add_special_tokens;
  size_t max_length; /* tokens of a row, special ones included; 0: as the file says */
  weft_padding padding;
} weft_encode_options;

/* Special tokens, the file's truncation, WEFT_PAD_LONGEST. */
weft_encode_options weft_encode_options_default(void);

/* The bytes of its text that a token came from; 0 and 0 for special tokens and padding. */
typedef struct weft_token_span {
  uint32_t start, end;
} weft_token_span;

/* Where tokens go: arrays of `capacity` elements of the caller, each of them NULL when not wanted.
 */
typedef struct weft_encoding {
  weft_dtype dtype; /* of ids, type_ids and attention_mask: WEFT_I64 or WEFT_I32 */
  size_t capacity;
  void *ids;
  void *type_ids;       /* 0 or 1: which of the two texts, as the model wants it */
  void *attention_mask; /* 1, or 0 for padding */
  weft_token_span *spans;
  size_t length; /* out: tokens of a row */
} weft_encoding;

/* Encodes `count` texts as rows [count, out->length], padded to the same length. A row may need
 * capacity / count tokens; where that is too little, or with all arrays NULL, out->length says what
 * is needed, and the answer is WEFT_LIMIT_EXCEEDED or WEFT_OK. No row has more tokens than bytes
 * plus special tokens, or than max_length. The time is linear in the bytes. `options` may be NULL.
 */
weft_status weft_tokenizer_encode(const weft_tokenizer *tokenizer, const weft_encode_input *inputs,
                                  size_t count, const weft_encode_options *options,
                                  weft_encoding *out, weft_error *error);

/* Writes the text of `count` ids with a final NUL; ids that no token has are passed over. *length
 * is the text's, also when `capacity` does not suffice (WEFT_LIMIT_EXCEEDED) or `text` is NULL. */
weft_status weft_tokenizer_decode(const weft_tokenizer *tokenizer, const int64_t *ids, size_t count,
                                  bool skip_special_tokens, char *text, size_t capacity,
                                  size_t *length, weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
