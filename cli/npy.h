/* npy.h - NumPy's .npy and .npz files (format: numpy.lib.format, versions 1 to 3) as tensors. Array
 * data goes from file to tensor and back without a copy between. */
#ifndef WEFT_CLI_NPY_H
#define WEFT_CLI_NPY_H

#include "weft/weft.h"

/* A tensor with memory of its own; NULL with a message on stderr. */
weft_tensor *npy_read(weft_runtime *runtime, const char *path);
/* The file appears under its name when it is whole. False with a message. */
bool npy_write(const char *path, const weft_tensor *tensor);

/* An .npz archive to read from; NULL with a message. */
typedef struct npz_file npz_file;
npz_file *npz_open(const char *path);
void npz_close(npz_file *file);
/* The array of that name; NULL with a message. */
weft_tensor *npz_read(npz_file *file, weft_runtime *runtime, const char *name);
/* As npy_write; names and tensors are those of the bindings. */
bool npz_write(const char *path, const weft_binding *arrays, size_t count);

#endif
