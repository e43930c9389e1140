/* gpu.c - opens a GPU for a session, measures its kernels, and keeps what was measured in a file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const tune_names[] = {"auto", "off", "fast", "full"};

static const char *tune_name(const void *unused, size_t index) {
  (void)unused;
  return index < sizeof tune_names / sizeof *tune_names ? tune_names[index] : NULL;
}

bool gpu_tune_mode(const common_options *common, weft_tune *out) {
  *out = WEFT_TUNE_AUTO;
  if (!common->tune) return true;
  if (!check_name("value of --tune", common->tune, tune_name, NULL)) return false;
  for (size_t i = 0; i < sizeof tune_names / sizeof *tune_names; i++)
    if (strcmp(common->tune, tune_names[i]) == 0) *out = (weft_tune)i;
  return true;
}

/* ---- the file of what was measured ----------------------------------------------------------- */

enum { TUNING_MAX = 1 << 20 };

/* A file that is not there is as good as an empty one; one that does not fit is measured anew. */
static bool read_tuning(weft_gpu *gpu, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file && errno == ENOENT) return true;
  char *text = file ? malloc(TUNING_MAX) : NULL;
  size_t length = text ? fread(text, 1, TUNING_MAX, file) : 0;
  bool read = text && !ferror(file);
  weft_error error;
  if (!read)
    complain("cannot read %s: %s", path, strerror(errno));
  else if (weft_gpu_read_tuning(gpu, text, length, &error) != WEFT_OK)
    complain("%s: %s; measuring anew", path, error.message);
  free(text);
  if (file) fclose(file);
  return read;
}

static void write_text(void *user, const char *text, size_t length) {
  fwrite(text, 1, length, user);
}

static bool write_tuning(const weft_gpu *gpu, const char *path) {
  FILE *file = fopen(path, "wb");
  if (file) weft_gpu_write_tuning(gpu, write_text, file);
  bool failed = !file || ferror(file);
  if (file && fclose(file) != 0) failed = true;
  if (failed) complain("cannot write %s: %s", path, strerror(errno));
  return !failed;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool is_auto(const common_options *common) {
  return common->gpu && strcmp(common->gpu, "auto") == 0;
}

/* What was chosen, for people. */
static void note(const common_options *common, const char *what, const char *why) {
  progress_clear();
  if (!common->quiet) fprintf(stderr, "weft: %s%s\n", what, why);
}

static weft_status choose(weft_chooser *chooser, weft_choice *choice, weft_error *error) {
  weft_status status = weft_chooser_run(chooser, choice);
  while (status == WEFT_PENDING) {
    status = weft_chooser_poll(chooser, true, error);
    if (status == WEFT_OK) status = weft_chooser_run(chooser, choice);
  }
  return status;
}

bool gpu_choose(loaded_model *loaded, weft_session_options *options, const common_options *common) {
  weft_error error;
  weft_chooser *chooser;
  weft_choice choice;
  if (!loaded->gpu || !is_auto(common)) return true;
  weft_status status = weft_chooser_open(loaded->model, options, &chooser, &error);
  if (status == WEFT_OK) status = choose(chooser, &choice, &error);
  weft_chooser_close(&chooser);
  if (status != WEFT_OK) return fail(loaded->path, &error);
  note(common, "", choice.why);
  if (choice.on_gpu) return true;
  weft_gpu_close(&loaded->gpu);
  options->gpu = NULL;
  return true;
}

/* ---- the GPU of a session -------------------------------------------------------------------- */

bool gpu_load(loaded_model *loaded, const common_options *common) {
  weft_error error;
  if (!common->gpu || loaded->gpu) return true;
  bool any = !*common->gpu || is_auto(common);
  weft_gpu_options options = {.adapter = any ? NULL : common->gpu};
  weft_status status = weft_gpu_open(loaded->runtime, &options, &loaded->gpu, &error);
  if (status != WEFT_OK && is_auto(common)) {
    note(common, "CPU: ", error.message);
    return true;
  }
  if (status != WEFT_OK) return fail(NULL, &error);
  return !common->tuning || read_tuning(loaded->gpu, common->tuning);
}

bool gpu_prepare(loaded_model *loaded, const common_options *common) {
  weft_error error;
  if (!loaded->gpu) return true;
  weft_status status = weft_session_prepare(loaded->session, &error);
  while (status == WEFT_PENDING) {
    status = weft_session_poll(loaded->session, true, &error);
    if (status == WEFT_OK) status = weft_session_prepare(loaded->session, &error);
  }
  if (status != WEFT_OK) return fail(loaded->path, &error);
  return !common->tuning || write_tuning(loaded->gpu, common->tuning);
}
