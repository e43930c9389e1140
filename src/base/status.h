/* status.h - how the core reports failure: a status that travels up, and one message made where the
 * cause is known. */
#ifndef WEFT_BASE_STATUS_H
#define WEFT_BASE_STATUS_H

#include "weft/weft.h"

/* Fills `error` (may be NULL) and returns `status`. The format is the subset of printf that text.h
 * names. The text is cut at the size of error->message. */
__attribute__((format(printf, 3, 4))) weft_status weft_fail(weft_error *error, weft_status status,
                                                            const char *format, ...);

/* Returns from the calling function when `call` failed. */
#define WEFT_TRY(call)                                                                             \
  do {                                                                                             \
    weft_status weft_try_status_ = (call);                                                         \
    if (weft_try_status_ != WEFT_OK) return weft_try_status_;                                      \
  } while (0)

#endif
