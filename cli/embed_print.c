/* embed_print.c - see embed.h. */
#include "embed.h"

#include <math.h>
#include <stdlib.h>

/* A line of numbers, or an array of JSON, for each. */
static void print_vectors(const vectors *v, bool json) {
  for (size_t i = 0; i < v->count; i++) {
    if (json) printf(i ? ",[" : "[");
    for (size_t k = 0; k < v->width; k++) {
      if (k) putchar(json ? ',' : ' ');
      print_number("%.7g", (double)v->data[i * v->width + k], json);
    }
    printf(json ? "]" : "\n");
  }
}

typedef struct hit {
  size_t text;
  double score; /* cosine */
} hit;

/* The best first, those that are no number last; equal ones in order. */
static int by_score(const void *a, const void *b) {
  const hit *x = a, *y = b;
  if (isnan(x->score) != isnan(y->score)) return isnan(x->score) ? 1 : -1;
  if (x->score < y->score) return 1;
  if (x->score > y->score) return -1;
  return (x->text > y->text) - (x->text < y->text);
}

static void rank(const vectors *texts, const float *query, hit *hits) {
  for (size_t i = 0; i < texts->count; i++) {
    hits[i] = (hit){i, 0};
    for (size_t k = 0; k < texts->width; k++)
      hits[i].score += (double)texts->data[i * texts->width + k] * (double)query[k];
  }
  qsort(hits, texts->count, sizeof *hits, by_score);
}

static void print_hits(const embed_options *options, const hit *hits, size_t count) {
  bool json = options->common.json;
  for (size_t i = 0; i < count; i++) {
    if (json) {
      printf("%s{\"text\":%zu,\"score\":", i ? "," : "", hits[i].text);
      print_number("%.6f", hits[i].score, json);
      printf("}");
    } else {
      printf("  %.4f  ", hits[i].score);
      print_text(options->text.items[hits[i].text], json);
      putchar('\n');
    }
  }
}

static bool print_rankings(const embed_options *options, const vectors *texts,
                           const vectors *queries) {
  bool json = options->common.json;
  size_t top = options->top < texts->count ? options->top : texts->count;
  hit *hits = calloc(texts->count + 1, sizeof *hits);
  if (!hits) {
    complain("out of memory");
    return false;
  }
  for (size_t q = 0; q < queries->count; q++) {
    if (json) printf(q ? ",{\"query\":" : "{\"query\":");
    print_text(options->queries.items[q], json);
    printf(json ? ",\"hits\":[" : "\n");
    rank(texts, queries->data + q * queries->width, hits);
    print_hits(options, hits, top);
    if (json) printf("]}");
  }
  free(hits);
  return true;
}

bool embed_print(const embed_options *options, const vectors *texts, const vectors *queries,
                 double ms_per_text) {
  bool json = options->common.json, ok = true;
  if (json)
    printf("{\"texts\":%zu,\"width\":%zu,\"ms_per_text\":%.3f,\"peak_memory_mib\":%.1f",
           texts->count, texts->width, ms_per_text, peak_memory_mib());
  if (queries->count) {
    if (json) printf(",\"queries\":[");
    ok = print_rankings(options, texts, queries);
    if (json) printf("]");
  } else if (!options->output) {
    if (json) printf(",\"vectors\":[");
    print_vectors(texts, json);
    if (json) printf("]");
  }
  if (json)
    printf("}\n");
  else if (!options->common.quiet)
    fprintf(stderr, "%zu texts of width %zu, %.2f ms per text, peak memory %.1f MiB\n",
            texts->count + queries->count, texts->width, ms_per_text, peak_memory_mib());
  return ok;
}
