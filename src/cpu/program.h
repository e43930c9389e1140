/* program.h - an elementwise expression made ready to run: registers of one tile, kernels and loops
 * chosen, inputs as strided sources. A map is a program over its whole output; a matmul runs one on
 * each block that it has just computed. */
#ifndef WEFT_CPU_PROGRAM_H
#define WEFT_CPU_PROGRAM_H

#include "cpu/internal.h"
#include "cpu/loops.h"
#include "cpu/nest.h"

/* Elements of a register: all registers of a program stay in the L1 cache, and the cost of a call
 * is spread thin. */
#define WEFT_TILE 512

#define WEFT_PROGRAM_OPERANDS (WEFT_EXPR_INPUTS_MAX + WEFT_EXPR_CODE_MAX)

typedef enum weft_source_kind {
  WEFT_SOURCE_LINEAR, /* lies as the output does */
  WEFT_SOURCE_SCALAR, /* one element for all */
  WEFT_SOURCE_ROWS,   /* anything else */
  WEFT_SOURCE_BLOCK,  /* given with each range, as it is held: a matmul's product */
} weft_source_kind;

typedef struct weft_source_form {
  weft_source_kind kind;
  bool used;
  uint8_t size, held_size;
  weft_convert_fn *load; /* NULL: held as stored */
  int64_t stride;        /* of the innermost dimension */
  int32_t slot;          /* register for what cannot be read in place; -1: none */
} weft_source_form;

typedef struct weft_operation weft_operation;

typedef struct weft_program {
  uint32_t input_count, operand_count, operation_count;
  weft_source_form sources[WEFT_EXPR_INPUTS_MAX];
  weft_operation *operations;
  const weft_expr *expr;                /* for its constants */
  int32_t slots[WEFT_PROGRAM_OPERANDS]; /* register of each operand; -1: none */
  uint32_t slot_count, slot_bytes;
  uint32_t tile;          /* elements of the largest tile there is */
  uint32_t result;        /* operand */
  bool direct;            /* the last operation writes to the output */
  bool plain;             /* one operation that reads sources and writes the output as they lie */
  weft_convert_fn *store; /* NULL: held as stored */
  uint8_t result_size, stored_size;
  bool has_rows, by_rows; /* sources of rows: there are; tiles end where rows do */
  weft_nest nest;
  uint64_t scratch_bytes; /* per worker */
} weft_program;

/* `nest`: shape of the output with the expression's inputs, collapsed. `block`: input 0 is given
 * with each range. `expr` must outlive the program. WEFT_UNSUPPORTED names the instruction and type
 * that there is no code for. */
weft_status weft_program_make(weft_program *program, const weft_kernels *kernels,
                              const weft_expr *expr, weft_dtype stored, const weft_nest *nest,
                              bool block, weft_arena *arena, weft_error *error);

/* A worker's registers. */
typedef struct weft_tiles {
  const weft_program *program;
  const uint8_t *sources[WEFT_EXPR_INPUTS_MAX];
  const uint8_t *splatted[WEFT_EXPR_INPUTS_MAX]; /* which element fills the source's register */
  uint8_t *at[WEFT_PROGRAM_OPERANDS];
  uint8_t *staging;
} weft_tiles;

/* A plain program on elements [start, start + count): needs no registers, and so no tiles. */
weft_status weft_program_run_plain(const weft_program *program, const uint8_t *const *sources,
                                   uint64_t start, uint64_t count, uint8_t *y, weft_error *error);

void weft_tiles_init(weft_tiles *tiles, const weft_program *program, const uint8_t *const *sources,
                     uint8_t *scratch);
/* Computes elements [start, start + count) of the output into `y`. `block`: where input 0 of this
 * range lies. */
weft_status weft_tiles_run(weft_tiles *tiles, uint64_t start, uint64_t count, const uint8_t *block,
                           uint8_t *y, weft_error *error);

#endif
