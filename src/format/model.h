/* model.h - the model object's inside: a parsed file, shared by reference with the sessions on it.
 */
#ifndef WEFT_FORMAT_MODEL_H
#define WEFT_FORMAT_MODEL_H

#include "format/format.h"

struct weft_model {
  weft_runtime *runtime;
  weft_heap heap; /* of everything here; counts under the runtime's */
  _Atomic uint32_t references;
  weft_file file;
  bool consumed; /* a session took the weights */
};

weft_model *weft_model_retain(weft_model *model);
/* The last release frees the model. */
void weft_model_release(weft_model *model);
/* Lets go of the model's share of every weight (sessions keep theirs). weft_model_close does so; a
 * consuming session too. */
void weft_model_drop_weights(weft_model *model);

#endif
