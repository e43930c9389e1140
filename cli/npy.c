/* npy.c - see npy.h. Archives are libzip's work. */
#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "model_file.h"

static const struct {
  const char *descriptor; /* little-endian */
  weft_dtype dtype;
} types[] = {
    {"<f4", WEFT_F32}, {"<f8", WEFT_F64}, {"<f2", WEFT_F16}, {"<i8", WEFT_I64},
    {"<i4", WEFT_I32}, {"<i2", WEFT_I16}, {"|i1", WEFT_I8},  {"<u8", WEFT_U64},
    {"<u4", WEFT_U32}, {"<u2", WEFT_U16}, {"|u1", WEFT_U8},  {"|b1", WEFT_BOOL},
};
enum { type_count = sizeof types / sizeof types[0] };

/* The text after "'key':" in the header's Python dictionary. */
static const char *find_key(const char *header, const char *key) {
  const char *at = strstr(header, key);
  if (!at) return NULL;
  at += strlen(key);
  return at + strspn(at, " :");
}

static weft_dtype read_type(const char *header) {
  const char *at = find_key(header, "'descr'");
  for (int i = 0; at && i < type_count; i++) {
    if (*at == '\'' && strncmp(at + 1, types[i].descriptor, 3) == 0) return types[i].dtype;
  }
  return WEFT_DTYPE_NONE;
}

static bool read_shape(const char *header, int64_t *dims, size_t *rank) {
  const char *at = find_key(header, "'shape'");
  if (!at || *at++ != '(') return false;
  for (*rank = 0; *at && *at != ')'; at += strspn(at, ", ")) {
    char *end;
    if (*rank == WEFT_RANK_MAX) return false;
    dims[(*rank)++] = strtoll(at, &end, 10);
    if (end == at) return false;
    at = end;
  }
  return *at == ')';
}

/* The header's text (the caller frees) and where the data begins. */
static char *read_header(const unsigned char *bytes, size_t length, size_t *data) {
  if (length < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0) return NULL;
  size_t size = bytes[8] | (size_t)bytes[9] << 8, start = 10;
  if (bytes[6] > 1) {
    size |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    start = 12;
  }
  if (size > length - start) return NULL;
  char *header = malloc(size + 1);
  if (!header) return NULL;
  memcpy(header, bytes + start, size);
  header[size] = 0;
  *data = start + size;
  return header;
}

weft_tensor *npy_decode(weft_runtime *runtime, const void *bytes, size_t length, const char *what) {
  size_t data = 0, rank = 0;
  int64_t dims[WEFT_RANK_MAX];
  char *header = read_header(bytes, length, &data);
  const char *order = header ? find_key(header, "'fortran_order'") : NULL;
  bool ok = order && strncmp(order, "False", 5) == 0 && read_shape(header, dims, &rank);
  weft_dtype dtype = ok ? read_type(header) : WEFT_DTYPE_NONE;
  free(header);
  if (dtype == WEFT_DTYPE_NONE) {
    fprintf(stderr, "weft: %s: not a .npy array in C order of a type that is supported\n", what);
    return NULL;
  }
  weft_tensor *tensor;
  weft_error error;
  if (weft_tensor_open(runtime, dtype, dims, rank, &tensor, &error) != WEFT_OK) {
    fprintf(stderr, "weft: %s: %s\n", what, error.message);
    return NULL;
  }
  if (weft_tensor_bytes(tensor) > length - data) {
    fprintf(stderr, "weft: %s: the array is cut short\n", what);
    weft_tensor_close(&tensor);
    return NULL;
  }
  memcpy(weft_tensor_data(tensor), (const char *)bytes + data, weft_tensor_bytes(tensor));
  return tensor;
}

void *npy_encode(const weft_tensor *tensor, size_t *length) {
  const char *descriptor = NULL;
  for (int i = 0; i < type_count; i++) {
    if (types[i].dtype == weft_tensor_dtype(tensor)) descriptor = types[i].descriptor;
  }
  if (!descriptor) return NULL;
  char shape[WEFT_RANK_MAX * 24] = "";
  for (size_t i = 0, at = 0; i < weft_tensor_rank(tensor); i++) {
    at += (size_t)snprintf(shape + at, sizeof shape - at, "%lld,",
                           (long long)weft_tensor_dims(tensor)[i]);
  }
  char header[512];
  int used =
      snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
               descriptor, shape);
  size_t start = (10 + (size_t)used + 1 + 63) / 64 * 64; /* the data is aligned to 64 */
  *length = start + weft_tensor_bytes(tensor);
  unsigned char *bytes = malloc(*length);
  if (!bytes) return NULL;
  memset(bytes, ' ', start);
  memcpy(bytes, "\x93NUMPY\x01\x00", 8);
  bytes[8] = (unsigned char)(start - 10);
  bytes[9] = (unsigned char)((start - 10) >> 8);
  memcpy(bytes + 10, header, (size_t)used);
  bytes[start - 1] = '\n';
  memcpy(bytes + start, weft_tensor_data(tensor), weft_tensor_bytes(tensor));
  return bytes;
}

weft_tensor *npy_read(weft_runtime *runtime, const char *path) {
  size_t length;
  char *bytes = read_file(path, &length);
  weft_tensor *tensor = bytes ? npy_decode(runtime, bytes, length, path) : NULL;
  free(bytes);
  return tensor;
}

bool npy_write(const char *path, const weft_tensor *tensor) {
  size_t length;
  void *bytes = npy_encode(tensor, &length);
  FILE *file = bytes ? fopen(path, "wb") : NULL;
  bool ok = file && fwrite(bytes, 1, length, file) == length;
  if (file) ok = fclose(file) == 0 && ok;
  if (!ok) fprintf(stderr, "weft: cannot write %s\n", path);
  free(bytes);
  return ok;
}

/* ---- archives ------------------------------------------------------------------------------- */

struct npz_file {
  zip_t *zip;
};

static zip_t *open_zip(const char *path, int flags) {
  int code = 0;
  zip_t *zip = zip_open(path, flags, &code);
  if (zip) return zip;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  fprintf(stderr, "weft: %s: %s\n", path, zip_error_strerror(&error));
  zip_error_fini(&error);
  return NULL;
}

npz_file *npz_open(const char *path) {
  npz_file *file = malloc(sizeof *file);
  zip_t *zip = file ? open_zip(path, ZIP_RDONLY) : NULL;
  if (!zip) {
    free(file);
    return NULL;
  }
  file->zip = zip;
  return file;
}

void npz_close(npz_file *file) {
  if (!file) return;
  zip_discard(file->zip);
  free(file);
}

weft_tensor *npz_read(npz_file *file, weft_runtime *runtime, const char *name, bool *failed) {
  char entry[1024];
  zip_stat_t facts;
  snprintf(entry, sizeof entry, "%s.npy", name);
  if (zip_stat(file->zip, entry, 0, &facts) != 0) return NULL;
  weft_tensor *tensor = NULL;
  zip_file_t *opened = zip_fopen(file->zip, entry, 0);
  char *bytes = opened ? malloc(facts.size + 1) : NULL;
  if (bytes && zip_fread(opened, bytes, facts.size) == (zip_int64_t)facts.size) {
    tensor = npy_decode(runtime, bytes, facts.size, entry);
  } else {
    fprintf(stderr, "weft: %s: %s\n", entry, zip_strerror(file->zip));
  }
  free(bytes);
  if (opened) zip_fclose(opened);
  *failed |= !tensor;
  return tensor;
}

/* Adds one array, stored without compression as numpy.savez does. */
static bool add_entry(zip_t *zip, const char *name, const weft_tensor *tensor) {
  char entry[1024];
  size_t length;
  void *bytes = npy_encode(tensor, &length);
  zip_source_t *source = bytes ? zip_source_buffer(zip, bytes, length, 1) : NULL;
  snprintf(entry, sizeof entry, "%s.npy", name);
  if (!source) {
    free(bytes);
    return false;
  }
  zip_int64_t index = zip_file_add(zip, entry, source, ZIP_FL_OVERWRITE | ZIP_FL_ENC_UTF_8);
  if (index < 0) zip_source_free(source);
  return index >= 0 && zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) == 0;
}

bool npz_write(const char *path, const char *const *names, weft_tensor *const *tensors,
               size_t count) {
  zip_t *zip = open_zip(path, ZIP_CREATE | ZIP_TRUNCATE);
  bool ok = zip != NULL;
  for (size_t i = 0; i < count && ok; i++) ok = add_entry(zip, names[i], tensors[i]);
  if (zip && (!ok || zip_close(zip) != 0)) {
    fprintf(stderr, "weft: %s: %s\n", path, zip_strerror(zip));
    zip_discard(zip);
    return false;
  }
  return ok;
}
