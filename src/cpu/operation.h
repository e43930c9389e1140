/* operation.h - one step of a program on a tile: shared by program.c, which makes them, and
 * tiles.c, which runs them. */
#ifndef WEFT_CPU_OPERATION_H
#define WEFT_CPU_OPERATION_H

#include "cpu/program.h"

typedef enum weft_form {
  WEFT_FORM_UNARY,
  WEFT_FORM_BINARY,
  WEFT_FORM_COMPARE,
  WEFT_FORM_SELECT,
  WEFT_FORM_CONVERT,
  WEFT_FORM_LOOP,
  WEFT_FORM_MOVE,
  WEFT_FORM_ROUND, /* to f16 or bf16 and back */
} weft_form;

struct weft_operation {
  uint8_t form, size; /* size: of an element, for MOVE */
  uint8_t x[3], y;    /* operands; those that it does not have repeat the first */
  union {
    weft_unary_f32_fn *unary;
    weft_binary_f32_fn *binary;
    weft_compare_f32_fn *compare;
    weft_select_f32_fn *select;
    weft_convert_fn *convert;
    weft_loop_fn *loop;
  } call;
  weft_convert_fn *back; /* ROUND */
  weft_range range;      /* LOOP */
};

#endif
