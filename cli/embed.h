/* embed.h - what the two halves of `weft embed` share: command_embed.c makes vectors, embed_print.c
 * shows them. */
#ifndef WEFT_CLI_EMBED_H
#define WEFT_CLI_EMBED_H

#include "cli.h"

typedef struct embed_options {
  common_options common;
  const char *tokenizer, *texts, *output;
  option_list text, queries; /* those of the file `texts` are added to `text` */
  uint64_t batch, top, max_length;
} embed_options;

/* `count` vectors of `width` floats, of length 1. */
typedef struct vectors {
  float *data;
  size_t count, width;
} vectors;

/* Rankings where there are queries, else the vectors unless they went to a file. False with a
 * message. */
bool embed_print(const embed_options *options, const vectors *texts, const vectors *queries,
                 double ms_per_text);

#endif
