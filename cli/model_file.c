/* model_file.c - see model_file.h. */
#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

struct model_file {
  int descriptor;
  char *path;
  weft_source source;
  model_file *next; /* files of external data */
};

static weft_status read_range(void *user, uint64_t offset, size_t length, void *destination) {
  const model_file *file = user;
  char *to = destination;
  while (length > 0) {
    ssize_t got = pread(file->descriptor, to, length, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return WEFT_IO_ERROR;
    to += got;
    offset += (uint64_t)got;
    length -= (size_t)got;
  }
  return WEFT_OK;
}

/* Takes over `path`. */
static model_file *open_owned(char *path) {
  model_file *file = calloc(1, sizeof *file);
  struct stat facts;
  if (!file || !path) {
    complain("out of memory");
    free(file);
    free(path);
    return NULL;
  }
  file->path = path;
  file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us */
  bool opened = file->descriptor >= 0 && fstat(file->descriptor, &facts) == 0;
  if (!opened || !S_ISREG(facts.st_mode)) {
    complain("cannot read %s: %s", path, opened ? "it is not a file" : strerror(errno));
    model_file_close(file);
    return NULL;
  }
  file->source = (weft_source){.size = (uint64_t)facts.st_size, .read = read_range, .user = file};
  return file;
}

model_file *model_file_open(const char *path) {
  return open_owned(strdup(path));
}

void model_file_close(model_file *file) {
  while (file) {
    model_file *next = file->next;
    if (file->descriptor >= 0) close(file->descriptor);
    free(file->path);
    free(file);
    file = next;
  }
}

const weft_source *model_file_source(const model_file *file) {
  return &file->source;
}

/* The library has refused locations that lead elsewhere; a plain join is enough. */
static char *beside(const char *model, const char *location) {
  const char *slash = strrchr(model, '/');
  size_t folder = slash ? (size_t)(slash - model) + 1 : 0, length = strlen(location);
  char *path = malloc(folder + length + 1);
  if (!path) return NULL;
  memcpy(path, model, folder);
  memcpy(path + folder, location, length + 1);
  return path;
}

weft_status model_file_resolve(void *user, const char *location, weft_source *out) {
  model_file *model = user;
  model_file *file = open_owned(beside(model->path, location));
  if (!file) return WEFT_IO_ERROR;
  file->next = model->next;
  model->next = file;
  *out = file->source;
  return WEFT_OK;
}

char *read_file(const char *path, size_t *length) {
  model_file *file = model_file_open(path);
  if (!file) return NULL;
  *length = (size_t)file->source.size;
  char *text = malloc(*length + 1);
  if (!text) complain("%s: out of memory", path);
  if (text && read_range(file, 0, *length, text) != WEFT_OK) {
    complain("cannot read %s", path);
    free(text);
    text = NULL;
  }
  if (text) text[*length] = 0;
  model_file_close(file);
  return text;
}
