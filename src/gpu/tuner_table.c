/* tuner_table.c - the choices of one GPU, and their text. */
#include "gpu/tuner_table.h"

#include "base/text.h"

weft_status weft_tuner_open(weft_heap *heap, weft_tuner **out, weft_error *error) {
  *out = weft_heap_allocate_zeroed(heap, sizeof **out);
  if (!*out) return weft_heap_fail(heap, sizeof **out, "the tuner", error);
  **out = (weft_tuner){.heap = heap, .asked = WEFT_TUNE_NONE, .trying = WEFT_TUNE_NONE};
  return WEFT_OK;
}

void weft_tuner_close(weft_tuner *tuner) {
  if (!tuner) return;
  weft_heap_release(tuner->heap, tuner->entries, tuner->room * sizeof *tuner->entries);
  weft_heap_release(tuner->heap, tuner, sizeof *tuner);
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint32_t find(const weft_tuner *tuner, const char *family, const uint32_t *words) {
  for (uint32_t i = 0; i < tuner->count; i++) {
    const weft_tune_entry *entry = &tuner->entries[i];
    if (memcmp(entry->words, words, sizeof entry->words) == 0 && strcmp(entry->family, family) == 0)
      return i;
  }
  return WEFT_TUNE_NONE;
}

/* A new entry; NULL: no memory, or the family's name is too long. */
static weft_tune_entry *add(weft_tuner *tuner, const char *family, const uint32_t *words) {
  if (strlen(family) >= WEFT_TUNE_FAMILY_MAX) return NULL;
  if (tuner->count == tuner->room) {
    uint32_t room = tuner->room ? 2 * tuner->room : 32;
    weft_tune_entry *entries =
        weft_heap_allocate_zeroed(tuner->heap, room * sizeof *tuner->entries);
    if (!entries) return NULL;
    if (tuner->count) memcpy(entries, tuner->entries, tuner->count * sizeof *entries);
    weft_heap_release(tuner->heap, tuner->entries, tuner->room * sizeof *entries);
    tuner->entries = entries;
    tuner->room = room;
  }
  weft_tune_entry *entry = &tuner->entries[tuner->count++];
  *entry = (weft_tune_entry){.measured = false};
  memcpy(entry->family, family, strlen(family) + 1);
  memcpy(entry->words, words, sizeof entry->words);
  return entry;
}

uint32_t weft_tune_choice(const weft_gpu_device *gpu, const weft_tune_key *key, uint32_t candidates,
                          uint32_t prior) {
  weft_tuner *tuner = gpu->gpu->tuner;
  uint32_t index = find(tuner, key->family, key->words);
  if (index == WEFT_TUNE_NONE) {
    index = tuner->count;
    if (!add(tuner, key->family, key->words)) return prior;
  }
  weft_tune_entry *entry = &tuner->entries[index];
  if (entry->candidates != candidates || entry->prior != prior) {
    bool fits = entry->measured && entry->candidates == candidates && entry->choice < candidates;
    entry->candidates = candidates;
    entry->prior = prior;
    if (!fits) entry->choice = prior;
    entry->measured = fits;
  }
  tuner->asked = index;
  return tuner->trying == index ? tuner->trial : entry->choice;
}

/* ---- as text --------------------------------------------------------------------------------- */

static void write_head(const weft_gpu *gpu, weft_text *text) {
  const weft_gpu_facts *f = gpu->facts;
  weft_text_add(text, "weft-tuning 1 %s|%s|%s|%s|", f->vendor, f->architecture, f->device,
                f->description);
  weft_text_add(text, "%d%d%d%d%d%d%d%d|%u-%u|%u|%u|%s\n", f->f16, f->subgroups, f->subgroup_size,
                f->dot8, (int)f->matrix_syntax, f->no_swizzle, f->no_linear, f->no_tiles,
                f->subgroup_min, f->subgroup_max, f->workgroup_storage, f->workgroup_invocations,
                weft_wgsl_version());
}

void weft_tuner_write(const weft_gpu *gpu, weft_text *text) {
  write_head(gpu, text);
  for (uint32_t i = 0; i < gpu->tuner->count; i++) {
    const weft_tune_entry *entry = &gpu->tuner->entries[i];
    if (!entry->measured) continue;
    weft_text_add(text, "%s", entry->family);
    for (uint32_t w = 0; w < WEFT_TUNE_WORDS; w++) weft_text_add(text, " %u", entry->words[w]);
    weft_text_add(text, " %u %u %llu\n", entry->candidates, entry->choice,
                  (unsigned long long)entry->ns);
  }
}

/* Takes a number and the space or line's end behind it. */
static bool take_number(const char **at, const char *end, uint64_t *out) {
  const char *c = *at;
  *out = 0;
  for (; c < end && *c >= '0' && *c <= '9'; c++) {
    if (*out > UINT64_MAX / 10 - 1) return false;
    *out = *out * 10 + (uint64_t)(*c - '0');
  }
  if (c == *at || (c < end && *c != ' ')) return false;
  *at = c < end ? c + 1 : c;
  return true;
}

/* A line into an entry of its own. */
static bool read_entry(const char *at, const char *end, weft_tune_entry *out) {
  *out = (weft_tune_entry){.measured = true};
  size_t length = 0;
  while (at + length < end && at[length] != ' ') length++;
  if (length == 0 || length >= WEFT_TUNE_FAMILY_MAX || at + length == end) return false;
  memcpy(out->family, at, length);
  at += length + 1;
  uint64_t numbers[WEFT_TUNE_WORDS + 3];
  for (uint32_t i = 0; i < WEFT_TUNE_WORDS + 3; i++)
    if (!take_number(&at, end, &numbers[i])) return false;
  for (uint32_t i = 0; i < WEFT_TUNE_WORDS + 2; i++)
    if (numbers[i] > UINT32_MAX) return false;
  for (uint32_t i = 0; i < WEFT_TUNE_WORDS; i++) out->words[i] = (uint32_t)numbers[i];
  out->candidates = (uint32_t)numbers[WEFT_TUNE_WORDS];
  out->choice = (uint32_t)numbers[WEFT_TUNE_WORDS + 1];
  out->ns = numbers[WEFT_TUNE_WORDS + 2];
  return at == end && out->choice < out->candidates;
}

static weft_status read_line(weft_gpu *gpu, const char *line, const char *end, uint32_t number,
                             bool keep, weft_error *error) {
  weft_tune_entry entry;
  if (!read_entry(line, end, &entry))
    return weft_fail(error, WEFT_INVALID_DATA, "tuning: line %u is malformed", number);
  if (!keep) return WEFT_OK;
  uint32_t index = find(gpu->tuner, entry.family, entry.words);
  weft_tune_entry *to = index == WEFT_TUNE_NONE ? add(gpu->tuner, entry.family, entry.words)
                                                : &gpu->tuner->entries[index];
  if (!to) return weft_heap_fail(gpu->heap, sizeof *to, "the tuner", error);
  uint32_t prior = index == WEFT_TUNE_NONE ? entry.choice : to->prior;
  *to = entry;
  to->prior = prior;
  return WEFT_OK;
}

static weft_status read_lines(weft_gpu *gpu, const char *at, const char *end, bool keep,
                              weft_error *error) {
  for (uint32_t number = 2; at < end; number++) {
    const char *line = at;
    while (at < end && *at != '\n') at++;
    if (at > line) WEFT_TRY(read_line(gpu, line, at, number, keep, error));
    at++;
  }
  return WEFT_OK;
}

weft_status weft_tuner_read(weft_gpu *gpu, const char *lines, size_t length, weft_error *error) {
  char head[512];
  weft_text text = {.buffer = head, .size = sizeof head};
  write_head(gpu, &text);
  if (length < text.length || memcmp(lines, head, text.length) != 0)
    return weft_fail(error, WEFT_INVALID_DATA,
                     "tuning: it was measured on another GPU, or for other kernels");
  const char *at = lines + text.length, *end = lines + length;
  WEFT_TRY(read_lines(gpu, at, end, false, error));
  return read_lines(gpu, at, end, true, error);
}
