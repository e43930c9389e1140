/* A program of a user: the installed headers and library are all that it sees. See run.sh. */
#include <stdio.h>
#include <weft/weft.h>

int main(void) {
  weft_runtime *runtime;
  weft_error error;
  if (weft_runtime_open(NULL, &runtime, &error) != WEFT_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  printf("weft %s\n", WEFT_VERSION);
  weft_runtime_close(&runtime);
  return runtime != NULL;
}
