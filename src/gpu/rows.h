/* rows.h - kernels that give a row to a team of lanes: kernels/wgsl/team.wgsl. */
#ifndef WEFT_GPU_ROWS_H
#define WEFT_GPU_ROWS_H

#include "gpu/internal.h"

/* Fewer rows than these leave most of a GPU idle with small teams. Units of a row that a lane keeps
 * in registers: at most 32 floats. */
enum { FEW_ROWS = 64, KEPT_UNITS = 8 };

typedef struct weft_gpu_team {
  uint32_t lanes, workgroup; /* powers of two */
  uint32_t per;              /* units that a lane keeps; 0: rows are read again */
  bool subgroups;
  uint64_t groups; /* workgroups */
} weft_gpu_team;

/* `units` per row: groups of four elements, or elements. */
weft_gpu_team weft_gpu_team_for(const weft_gpu_device *gpu, uint64_t rows, uint64_t units);
/* `slots`: folds in the kernel. `quads`: units are groups of four. */
void weft_gpu_set_team(weft_gpu_build *build, const weft_gpu_team *team, uint32_t slots,
                       bool quads);

#endif
