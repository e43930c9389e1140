// matmul_tile.wgsl - included inside main: the workgroup's tile (row0, quad0), batch and part of k.
  let item = group.y * groups.x + group.x;
  if (item >= params.items) { return; }
  let tiles_m = (params.m + TILE_M - 1u) / TILE_M;
  let tiles_q = (params.n + 4u * TILE_Q - 1u) / (4u * TILE_Q);
  let tiles = tiles_m * tiles_q;
  // Workgroups that follow each other share STRIP tiles along m, so that they find B in the cache.
  let tile = item % tiles;
  let strip = tile / (${STRIP}u * tiles_q);
  let strip_height = min(${STRIP}u, tiles_m - strip * ${STRIP}u);
  let in_strip = tile - strip * ${STRIP}u * tiles_q;
  let row0 = (strip * ${STRIP}u + in_strip % strip_height) * TILE_M;
  let quad0 = in_strip / strip_height * TILE_Q;
#include matmul_split
