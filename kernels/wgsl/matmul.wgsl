// matmul.wgsl - y = expression(a b, ...) by tiles: a workgroup of WX x WY computes
// WY * ROWS rows x WX * QUADS quads (4 columns each), TILE_K of k at a time, which it brings into
// workgroup memory: A as it lies (vec4s along k), B by rows of vec4s along the columns, made
// floats. An invocation has ROWS rows and QUADS quads, WX apart, so that neighbours read and write
// neighbouring words. B: constant words (BITS: see src/gpu/matmul.h), or computed (b), by rows or
// TRANSPOSED. SPLITS: k is shared out, and the parts go to `part`, for matmul_finish.

#include matmul_params
#include matmul_epilogue
#if BITS
#include matmul_weights
#end

const WX = ${WX}u;
const THREADS = ${WX}u * ${WY}u;
const TILE_M = ${WY}u * ${ROWS}u;
const TILE_Q = ${WX}u * ${QUADS}u;
const TILE_K = ${TILE_K}u;
const K4 = ${TILE_K}u / 4u;

#if TILE_F16
alias tile4 = vec4<f16>;
#else
alias tile4 = vec4<f32>;
#end

var<workgroup> tile_a: array<tile4, ${WY} * ${ROWS} * ${TILE_K} / 4>;
var<workgroup> tile_b: array<tile4, ${WX} * ${QUADS} * ${TILE_K}>;

// SWIZZLE: rows of A that are read at once lie in other banks.
fn a_place(row: u32, k4: u32) -> u32 {
#if SWIZZLE
  return row * K4 + (k4 ^ ((row / ${ROWS}u) & (K4 - 1u)));
#else
  return row * K4 + k4;
#end
}

fn store_a(row: u32, k4: u32, v: vec4<f32>) {
  tile_a[a_place(row, k4)] = tile4(v);
}

fn store_b(i: u32, v: vec4<f32>) {
  tile_b[i] = tile4(v);
}

#include matmul_load

@compute @workgroup_size(${WX}, ${WY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) local: vec3<u32>) {
#include matmul_tile
#include matmul_batch
  let index = local.y * WX + local.x;
#for r ROWS
#for q QUADS
  var sum${r}_${q} = vec4<f32>();
#end
#end
  for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
    load_tiles(index, a_base, b_base, row0, quad0, k0, k_end);
    workgroupBarrier();
    for (var k4 = 0u; k4 < K4; k4 += 1u) {
      let first = k4 * 4u * TILE_Q + local.x;
#for q QUADS
#for j 4
      let b${j}_${q} = vec4<f32>(tile_b[first + ${j}u * TILE_Q + ${q}u * WX]);
#end
#end
#for r ROWS
      let a${r} = vec4<f32>(tile_a[a_place(local.y * ${ROWS}u + ${r}u, k4)]);
#for q QUADS
      sum${r}_${q} += a${r}.x * b0_${q};
      sum${r}_${q} += a${r}.y * b1_${q};
      sum${r}_${q} += a${r}.z * b2_${q};
      sum${r}_${q} += a${r}.w * b3_${q};
#end
#end
    }
    workgroupBarrier();
  }
#include matmul_write
}
