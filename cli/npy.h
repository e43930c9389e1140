/* npy.h - NumPy's .npy and .npz files (format: numpy.lib.format, versions 1 to 3) as tensors. */
#ifndef WEFT_CLI_NPY_H
#define WEFT_CLI_NPY_H

#include <stddef.h>

#include "weft/weft.h"

/* A tensor with memory of its own from the bytes of a .npy file; NULL with a message on stderr that
 * names `what`. */
weft_tensor *npy_decode(weft_runtime *runtime, const void *bytes, size_t length, const char *what);
/* The bytes of a .npy file (the caller frees), or NULL. */
void *npy_encode(const weft_tensor *tensor, size_t *length);

weft_tensor *npy_read(weft_runtime *runtime, const char *path);
bool npy_write(const char *path, const weft_tensor *tensor);

/* An .npz archive to read from. */
typedef struct npz_file npz_file;
npz_file *npz_open(const char *path);
void npz_close(npz_file *file);
/* The array of that name; NULL without a message when there is none, NULL with one (and *failed
 * set) when it is broken. */
weft_tensor *npz_read(npz_file *file, weft_runtime *runtime, const char *name, bool *failed);
bool npz_write(const char *path, const char *const *names, weft_tensor *const *tensors,
               size_t count);

#endif
