/* model_file.h - files as weft_source: read by range, so that no model is in memory as a whole.
 * External data is looked for beside the model's file. */
#ifndef WEFT_CLI_MODEL_FILE_H
#define WEFT_CLI_MODEL_FILE_H

#include "weft/weft.h"

typedef struct model_file model_file;

/* NULL, with a message on stderr, when the file cannot be read. */
model_file *model_file_open(const char *path);
void model_file_close(model_file *file);
const weft_source *model_file_source(const model_file *file);
/* A weft_resolve_fn; `user` is the model's model_file, which owns what is opened. */
weft_status model_file_resolve(void *user, const char *location, weft_source *out);

/* A whole small file, with a final NUL; NULL with a message. The caller frees. */
char *read_file(const char *path, size_t *length);

#endif
