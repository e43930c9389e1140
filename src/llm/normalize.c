/* normalize.c - the steps of BertNormalizer, one character at a time:
 *
 *   clean -> blanks around ideographs -> decompose, strip marks, reorder -> lower case -> sink
 *
 * Only canonical ordering needs more than one character: combining characters (nonstarters) that
 * are no nonspacing marks wait until the next starter shows where their run ends. */
#include "llm/normalize.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "llm/unicode.h"

/* Waiting nonstarters before the heap is asked; a run in real text has one or two. */
enum { PENDING_INLINE = 8 };

typedef struct {
  weft_char c;
  uint32_t combining; /* class, from 1 to 254 */
} pending_char;

typedef struct {
  const weft_normalizer *normalizer;
  weft_char_sink sink;
  weft_heap *heap;
  bool stopped;
  weft_status status;
  pending_char *pending;
  size_t pending_count, pending_capacity;
  pending_char inline_pending[PENDING_INLINE];
} stream;

void weft_normalizer_init(weft_normalizer *normalizer) {
  for (uint32_t byte = 0; byte < 128; byte++) {
    struct weft_ascii *to = &normalizer->ascii[byte];
    uint32_t code[2] = {byte};
    *to = (struct weft_ascii){(uint8_t)byte, weft_unicode_class(byte)};
    if (normalizer->clean_text && (to->properties & WEFT_CHAR_SPACE)) to->code = ' ';
    if (normalizer->clean_text && (to->properties & WEFT_CHAR_REMOVED)) to->code = 0;
    if (normalizer->lowercase && (to->properties & WEFT_CHAR_MAPPED)) {
      weft_unicode_lower(byte, code);
      to->code = (uint8_t)code[0];
    }
  }
}

static void put(stream *s, weft_char c) {
  if (!s->stopped && !s->sink.put(s->sink.user, c)) s->stopped = true;
}

static void lower(stream *s, weft_char c) {
  if (!s->normalizer->lowercase || !(c.properties & WEFT_CHAR_MAPPED)) return put(s, c);
  uint32_t codes[2];
  uint32_t count = weft_unicode_lower(c.code, codes);
  for (uint32_t i = 0; i < count; i++)
    put(s, (weft_char){codes[i], c.start, c.end, weft_unicode_class(codes[i])});
}

/* Passes the waiting characters on, by class and in order within a class. A pass for each class
 * that occurs, so that the cost is linear in the run; there are some ten classes. */
static void flush(stream *s) {
  uint32_t done = 0;
  size_t passed = 0;
  while (s->pending_count > 0) {
    uint32_t next = UINT32_MAX;
    for (size_t i = 0; i < s->pending_count; i++) {
      uint32_t combining = s->pending[i].combining;
      if (combining > done && combining < next) next = combining;
    }
    if (next == UINT32_MAX) break;
    for (size_t i = 0; i < s->pending_count; i++) {
      if (s->pending[i].combining != next) continue;
      weft_char c = s->pending[i].c, place = s->pending[passed++].c;
      c.start = place.start;
      c.end = place.end;
      lower(s, c);
    }
    done = next;
  }
  s->pending_count = 0;
}

static void fail(stream *s) {
  s->status = WEFT_OUT_OF_MEMORY;
  s->stopped = true;
}

static void release_pending(stream *s) {
  if (s->pending != s->inline_pending)
    weft_heap_release(s->heap, s->pending, s->pending_capacity * sizeof *s->pending);
}

static void wait_for_starter(stream *s, weft_char c) {
  if (s->pending_count == s->pending_capacity) {
    size_t capacity = s->pending_capacity * 2;
    pending_char *grown = weft_heap_allocate(s->heap, (uint64_t)capacity * sizeof *grown);
    if (grown == NULL) return fail(s);
    memcpy(grown, s->pending, s->pending_count * sizeof *grown);
    release_pending(s);
    s->pending = grown;
    s->pending_capacity = capacity;
  }
  s->pending[s->pending_count++] = (pending_char){c, weft_unicode_combining(c.code)};
}

/* A character of a decomposition that is not a nonspacing mark. */
static void order(stream *s, weft_char c) {
  if (c.properties & WEFT_CHAR_NONSTARTER) return wait_for_starter(s, c);
  if (s->pending_count > 0) flush(s);
  lower(s, c);
}

static void strip(stream *s, weft_char c) {
  if (!s->normalizer->strip_accents) return lower(s, c);
  if (c.properties & WEFT_CHAR_MARK) {
    if (!(c.properties & WEFT_CHAR_NONSTARTER)) flush(s);
    return;
  }
  if (!(c.properties & WEFT_CHAR_MAPPED)) return order(s, c);
  uint32_t codes[3];
  uint32_t count = weft_unicode_strip(c.code, codes);
  for (uint32_t i = 0; i < count; i++)
    order(s, (weft_char){codes[i], c.start, c.end, weft_unicode_class(codes[i])});
}

static void normalize_char(stream *s, weft_char c) {
  weft_char blank = {' ', c.start, c.end, WEFT_CHAR_SPACE};
  c.properties = weft_unicode_class(c.code);
  if (s->normalizer->clean_text) {
    if (c.properties & WEFT_CHAR_REMOVED) return;
    if (c.properties & WEFT_CHAR_SPACE) c = blank;
  }
  bool alone = s->normalizer->split_chinese && (c.properties & WEFT_CHAR_CHINESE);
  if (alone) strip(s, blank);
  strip(s, c);
  if (alone) strip(s, blank);
}

static void normalize_ascii(stream *s, uint8_t byte, size_t at) {
  struct weft_ascii to = s->normalizer->ascii[byte];
  if (to.code == 0 && s->normalizer->clean_text) return;
  if (s->pending_count > 0) flush(s);
  put(s, (weft_char){to.code, (uint32_t)at, (uint32_t)at + 1, to.properties});
}

bool weft_normalize(const weft_normalizer *normalizer, weft_heap *heap, const uint8_t *text,
                    size_t begin, size_t end, weft_char_sink sink, weft_status *status) {
  stream s = {
      .normalizer = normalizer, .sink = sink, .heap = heap, .pending_capacity = PENDING_INLINE};
  s.pending = s.inline_pending;
  for (size_t at = begin; at < end && !s.stopped;) {
    if (text[at] < 0x80) {
      normalize_ascii(&s, text[at], at);
      at++;
      continue;
    }
    weft_utf8_char found = weft_utf8_decode(text + at, text + end);
    normalize_char(&s, (weft_char){.code = found.code,
                                   .start = (uint32_t)at,
                                   .end = (uint32_t)(at + found.length)});
    at += found.length;
  }
  flush(&s);
  release_pending(&s);
  if (s.status != WEFT_OK) *status = s.status;
  return !s.stopped;
}
