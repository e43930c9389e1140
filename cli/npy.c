/* npy.c - see npy.h. Archives are libzip's work. */
#include "npy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "model_file.h"
#include "output.h"

static const struct {
  const char *descriptor; /* little-endian */
  weft_dtype dtype;
} types[] = {
    {"<f4", WEFT_F32}, {"<f8", WEFT_F64}, {"<f2", WEFT_F16}, {"<i8", WEFT_I64},
    {"<i4", WEFT_I32}, {"<i2", WEFT_I16}, {"|i1", WEFT_I8},  {"<u8", WEFT_U64},
    {"<u4", WEFT_U32}, {"<u2", WEFT_U16}, {"|u1", WEFT_U8},  {"|b1", WEFT_BOOL},
};
enum { TYPE_COUNT = sizeof types / sizeof types[0] };

/* ---- reading -------------------------------------------------------------------------------- */

enum { HEADER_READ_MAX = 1 << 16 }; /* a list of field names is long; an array's header is not */

/* The text after "'key':" in the header's Python dictionary, "" without it. */
static const char *find_key(const char *header, const char *key) {
  const char *at = strstr(header, key);
  if (!at) return "";
  at += strlen(key);
  return at + strspn(at, " :");
}

static weft_dtype read_type(const char *descriptor) {
  for (int i = 0; i < TYPE_COUNT; i++) {
    if (*descriptor == '\'' && strncmp(descriptor + 1, types[i].descriptor, 3) == 0 &&
        descriptor[4] == '\'')
      return types[i].dtype;
  }
  return WEFT_DTYPE_NONE;
}

static bool read_shape(const char *at, int64_t *dims, size_t *rank) {
  if (*at++ != '(') return false;
  for (*rank = 0; *at && *at != ')'; at += strspn(at, ", ")) {
    char *end;
    if (*rank == WEFT_RANK_MAX) return false;
    dims[(*rank)++] = strtoll(at, &end, 10);
    if (end == at) return false;
    at = end;
  }
  return *at == ')';
}

/* Reads the next bytes of a source, which may only go forward (an entry of an archive). */
static bool read_next(const weft_source *source, uint64_t *at, void *to, size_t length) {
  if (length > source->size - *at) return false;
  if (source->read(source->user, *at, length, to) != WEFT_OK) return false;
  *at += length;
  return true;
}

/* The header's text (the caller frees); *at moves to where the data begins. NULL when it is none.
 */
static char *read_header(const weft_source *source, uint64_t *at) {
  unsigned char start[12];
  if (!read_next(source, at, start, 10) || memcmp(start, "\x93NUMPY", 6) != 0) return NULL;
  size_t size = start[8] | (size_t)start[9] << 8;
  if (start[6] > 1) {
    if (!read_next(source, at, start + 10, 2)) return NULL;
    size |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
  }
  char *header = size <= HEADER_READ_MAX ? malloc(size + 1) : NULL;
  if (!header || !read_next(source, at, header, size)) {
    free(header);
    return NULL;
  }
  header[size] = 0;
  return header;
}

/* Is the array not larger than what is left of the file? Asked before memory is. */
static bool fits(const int64_t *dims, size_t rank, size_t element, uint64_t left) {
  uint64_t most = left / element, count = 1;
  for (size_t i = 0; i < rank; i++) {
    if (dims[i] == 0) return true;
  }
  for (size_t i = 0; i < rank; i++) {
    if (dims[i] < 0 || (uint64_t)dims[i] > most / count) return false;
    count *= (uint64_t)dims[i];
  }
  return count <= most;
}

/* A tensor as the header says, still without the data. */
static weft_tensor *open_array(weft_runtime *runtime, const char *header, uint64_t left,
                               const char *what) {
  int64_t dims[WEFT_RANK_MAX];
  size_t rank;
  weft_tensor *tensor = NULL;
  weft_error error;
  const char *descriptor = find_key(header, "'descr'");
  weft_dtype dtype = read_type(descriptor);
  if (!read_shape(find_key(header, "'shape'"), dims, &rank)) {
    complain("%s: its shape is not one of at most %d dimensions", what, WEFT_RANK_MAX);
  } else if (dtype == WEFT_DTYPE_NONE) {
    complain("%s: elements of type %.*s are not supported", what,
             (int)strcspn(descriptor, ",}[ \n"), descriptor);
  } else if (strncmp(find_key(header, "'fortran_order'"), "False", 5) != 0) {
    complain("%s: the array is in Fortran order: numpy.ascontiguousarray makes it C order", what);
  } else if (!fits(dims, rank, weft_dtype_size(dtype), left)) {
    complain("%s: the array is cut short", what);
  } else if (weft_tensor_open(runtime, dtype, dims, rank, &tensor, &error) != WEFT_OK) {
    complain("%s: %s", what, error.message);
  }
  return tensor;
}

static weft_tensor *read_array(weft_runtime *runtime, const weft_source *source, const char *what) {
  uint64_t at = 0;
  char *header = read_header(source, &at);
  if (!header) {
    complain("%s: this is not a .npy file", what);
    return NULL;
  }
  weft_tensor *tensor = open_array(runtime, header, source->size - at, what);
  free(header);
  if (tensor && !read_next(source, &at, weft_tensor_data(tensor), weft_tensor_bytes(tensor))) {
    complain("%s: the array cannot be read", what);
    weft_tensor_close(&tensor);
  }
  return tensor;
}

weft_tensor *npy_read(weft_runtime *runtime, const char *path) {
  model_file *file = model_file_open(path);
  weft_tensor *tensor = file ? read_array(runtime, model_file_source(file), path) : NULL;
  model_file_close(file);
  return tensor;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* All that stands before the data, whose place is a multiple of 64 bytes. */
typedef struct npy_header {
  char bytes[512];
  size_t length;
} npy_header;

static const char *descriptor_of(weft_dtype dtype) {
  for (int i = 0; i < TYPE_COUNT; i++) {
    if (types[i].dtype == dtype) return types[i].descriptor;
  }
  return NULL;
}

static bool make_header(const weft_tensor *tensor, const char *path, npy_header *out) {
  const char *descriptor = descriptor_of(weft_tensor_dtype(tensor));
  if (!descriptor) {
    complain("cannot write %s: there are no .npy files of type %s", path,
             weft_dtype_name(weft_tensor_dtype(tensor)));
    return false;
  }
  char shape[WEFT_RANK_MAX * 24] = "";
  for (size_t i = 0, at = 0; i < weft_tensor_rank(tensor); i++) {
    at += (size_t)snprintf(shape + at, sizeof shape - at, "%lld,",
                           (long long)weft_tensor_dims(tensor)[i]);
  }
  memset(out->bytes, ' ', sizeof out->bytes);
  size_t used = 10 + (size_t)snprintf(out->bytes + 10, sizeof out->bytes - 10,
                                      "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                                      descriptor, shape);
  out->bytes[used] = ' ';
  out->length = (used + 1 + 63) / 64 * 64;
  out->bytes[out->length - 1] = '\n';
  memcpy(out->bytes, "\x93NUMPY\x01\x00", 8);
  out->bytes[8] = (char)((out->length - 10) & 0xff);
  out->bytes[9] = (char)((out->length - 10) >> 8);
  return true;
}

static bool is_special(const char *path) {
  struct stat facts;
  return lstat(path, &facts) == 0 && !S_ISREG(facts.st_mode);
}

static bool write_bytes(const char *path, const npy_header *header, const weft_tensor *tensor) {
  FILE *file = fopen(path, "wb");
  if (!file) return false;
  size_t length = weft_tensor_bytes(tensor);
  bool ok = fwrite(header->bytes, 1, header->length, file) == header->length &&
            fwrite(weft_tensor_data(tensor), 1, length, file) == length;
  return fclose(file) == 0 && ok;
}

bool npy_write(const char *path, const weft_tensor *tensor) {
  npy_header header;
  char *part = NULL;
  if (!make_header(tensor, path, &header)) return false;
  errno = 0;
  if (is_special(path)) { /* a device, a pipe, a link: written through, not replaced */
    if (write_bytes(path, &header, tensor)) return true;
  } else if (asprintf(&part, "%s.part", path) >= 0) {
    bool ok = write_bytes(part, &header, tensor) && rename(part, path) == 0;
    int reason = errno;
    if (!ok) unlink(part);
    free(part);
    if (ok) return true;
    errno = reason;
  }
  complain("cannot write %s: %s", path, strerror(errno));
  return false;
}

/* ---- archives ------------------------------------------------------------------------------- */

struct npz_file {
  zip_t *zip;
  const char *path;
};

static zip_t *open_zip(const char *path, int flags) {
  int code = 0;
  zip_t *zip = zip_open(path, flags, &code);
  if (zip) return zip;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  complain("%s: %s", path, zip_error_strerror(&error));
  zip_error_fini(&error);
  return NULL;
}

npz_file *npz_open(const char *path) {
  zip_t *zip = open_zip(path, ZIP_RDONLY);
  npz_file *file = zip ? malloc(sizeof *file) : NULL;
  if (file)
    *file = (npz_file){zip, path};
  else if (zip)
    zip_discard(zip);
  return file;
}

void npz_close(npz_file *file) {
  if (!file) return;
  zip_discard(file->zip);
  free(file);
}

/* A weft_source's, for one entry, read from its begin to its end. */
static weft_status read_entry(void *entry, uint64_t offset, size_t length, void *to) {
  (void)offset;
  return zip_fread(entry, to, length) == (zip_int64_t)length ? WEFT_OK : WEFT_IO_ERROR;
}

/* The checksum is compared when the end is met. */
static bool is_whole(zip_file_t *entry) {
  char beyond[256];
  zip_int64_t got;
  while ((got = zip_fread(entry, beyond, sizeof beyond)) > 0) continue;
  return got == 0;
}

static const char *entry_name(const void *zip, size_t index) {
  return zip_get_name((zip_t *)(uintptr_t)zip, index, 0);
}

weft_tensor *npz_read(npz_file *file, weft_runtime *runtime, const char *name) {
  char *entry = NULL, *what = NULL;
  zip_stat_t facts;
  weft_tensor *tensor = NULL;
  zip_file_t *opened = NULL;
  if (asprintf(&entry, "%s.npy", name) < 0 || asprintf(&what, "%s: %s", file->path, entry) < 0) {
    complain("out of memory");
  } else if (zip_stat(file->zip, entry, 0, &facts) != 0) {
    check_name("archive member", entry, entry_name, file->zip);
  } else if (!(opened = zip_fopen(file->zip, entry, 0))) {
    complain("%s: %s", what, zip_strerror(file->zip));
  } else {
    weft_source source = {.size = facts.size, .read = read_entry, .user = opened};
    tensor = read_array(runtime, &source, what);
    if (tensor && !is_whole(opened)) {
      complain("%s: %s", what, zip_file_strerror(opened));
      weft_tensor_close(&tensor);
    }
  }
  if (opened) zip_fclose(opened);
  free(entry);
  free(what);
  return tensor;
}

/* Adds one array, stored without compression as numpy.savez does. Header and data must live until
 * the archive is written. */
static bool add_entry(zip_t *zip, const weft_binding *array, npy_header *header) {
  zip_buffer_fragment_t pieces[] = {
      {(zip_uint8_t *)header->bytes, header->length},
      {weft_tensor_data(array->tensor), weft_tensor_bytes(array->tensor)},
  };
  char *entry = NULL;
  zip_source_t *source = zip_source_buffer_fragment(zip, pieces, pieces[1].length ? 2 : 1, 0);
  if (!source || asprintf(&entry, "%s.npy", array->name) < 0) {
    zip_source_free(source);
    return false;
  }
  zip_int64_t index = zip_file_add(zip, entry, source, ZIP_FL_OVERWRITE | ZIP_FL_ENC_UTF_8);
  free(entry);
  if (index < 0) zip_source_free(source);
  return index >= 0 && zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) == 0;
}

bool npz_write(const char *path, const weft_binding *arrays, size_t count) {
  if (is_special(path)) { /* libzip would put a file in its place */
    complain("cannot write %s: an archive can only be a file", path);
    return false;
  }
  npy_header *headers = calloc(count + 1, sizeof *headers);
  zip_t *zip = headers ? open_zip(path, ZIP_CREATE | ZIP_TRUNCATE) : NULL;
  bool named = zip != NULL, added = named;
  for (size_t i = 0; i < count && named && added; i++) {
    named = make_header(arrays[i].tensor, path, &headers[i]);
    added = named && add_entry(zip, &arrays[i], &headers[i]);
  }
  bool ok = added && zip_close(zip) == 0;
  if (zip && named && !ok) complain("cannot write %s: %s", path, zip_strerror(zip));
  if (zip && !ok) zip_discard(zip);
  free(headers);
  return ok;
}
