// matmul_matrix.wgsl - matmul.wgsl by subgroup matrices: MATRIX_M x MATRIX_N sums of MATRIX_K
// products, f32 sums. A workgroup has WX subgroups along n and WY along m, each with QUADS x ROWS
// matrices; the sums go through workgroup memory to the expression, a matrix at a time.
// OLD_SYNTAX: as subgroup matrices were loaded before the middle of 2026.

#include matmul_params
#include matmul_epilogue
#if BITS
#include matmul_weights
#end

const LANES = ${LANES}u;
const THREADS = ${WX}u * ${WY}u * ${LANES}u;
const TILE_M = ${WY}u * ${ROWS}u * ${MATRIX_M}u;
const TILE_N = ${WX}u * ${QUADS}u * ${MATRIX_N}u;
const TILE_Q = TILE_N / 4u;
const TILE_K = ${TILE_K}u;
const K4 = ${TILE_K}u / 4u;
const SUMS = ${MATRIX_M}u * ${MATRIX_N}u;

#if TILE_F16
alias number = f16;
#else
alias number = f32;
#end
alias left = subgroup_matrix_left<number, ${MATRIX_K}, ${MATRIX_M}>;
alias right = subgroup_matrix_right<number, ${MATRIX_N}, ${MATRIX_K}>;
alias result = subgroup_matrix_result<f32, ${MATRIX_N}, ${MATRIX_M}>;

var<workgroup> tile_a: array<number, ${WY} * ${ROWS} * ${MATRIX_M} * ${TILE_K}>;
var<workgroup> tile_b: array<number, ${WX} * ${QUADS} * ${MATRIX_N} * ${TILE_K}>;
var<workgroup> staged: array<f32, ${WX} * ${WY} * ${MATRIX_M} * ${MATRIX_N}>;

fn store_a(row: u32, k4: u32, v: vec4<f32>) {
#for c 4
  tile_a[row * TILE_K + k4 * 4u + ${c}u] = number(v[${c}]);
#end
}

fn store_b(i: u32, v: vec4<f32>) {
#for c 4
  tile_b[i * 4u + ${c}u] = number(v[${c}]);
#end
}

#include matmul_load

@compute @workgroup_size(${WX} * ${WY} * ${LANES}) ${SUBGROUP_SIZE_ATTRIBUTE}
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32,
        @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_id) subgroup: u32) {
#include matmul_tile
#include matmul_batch
  let matrix_row = subgroup / ${WX}u * ${ROWS}u;
  let matrix_column = subgroup % ${WX}u * ${QUADS}u;
#for r ROWS
#for q QUADS
  var sum${r}_${q} = result();
#end
#end
  for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
    load_tiles(index, a_base, b_base, row0, quad0, k0, k_end);
    workgroupBarrier();
    for (var k = 0u; k < TILE_K; k += ${MATRIX_K}u) {
#for r ROWS
      let a_at${r} = (matrix_row + ${r}u) * ${MATRIX_M}u * TILE_K + k;
#if OLD_SYNTAX
      let a${r} = subgroupMatrixLoad<left>(&tile_a, a_at${r}, false, TILE_K);
#else
      let a${r} = subgroupMatrixLoad<left, row_major>(&tile_a, a_at${r}, TILE_K);
#end
#end
#for q QUADS
      let b_at${q} = k * TILE_N + (matrix_column + ${q}u) * ${MATRIX_N}u;
#if OLD_SYNTAX
      let b${q} = subgroupMatrixLoad<right>(&tile_b, b_at${q}, false, TILE_N);
#else
      let b${q} = subgroupMatrixLoad<right, row_major>(&tile_b, b_at${q}, TILE_N);
#end
#for r ROWS
      sum${r}_${q} = subgroupMatrixMultiplyAccumulate(a${r}, b${q}, sum${r}_${q});
#end
#end
    }
    workgroupBarrier();
  }
  let stage = subgroup * SUMS;
#for r ROWS
#for q QUADS
#if OLD_SYNTAX
  subgroupMatrixStore(&staged, stage, sum${r}_${q}, false, ${MATRIX_N}u);
#else
  subgroupMatrixStore<row_major>(&staged, stage, sum${r}_${q}, ${MATRIX_N}u);
#end
  workgroupBarrier();
  for (var i = lane * 4u; i < SUMS; i += LANES * 4u) {
    let row = row0 + (matrix_row + ${r}u) * ${MATRIX_M}u + i / ${MATRIX_N}u;
    let column = quad0 * 4u + (matrix_column + ${q}u) * ${MATRIX_N}u + i % ${MATRIX_N}u;
    let product = vec4<f32>(staged[stage + i], staged[stage + i + 1u], staged[stage + i + 2u],
                            staged[stage + i + 3u]);
    if (row < params.m && column < params.n) {
#if SPLITS
      write_quad(product, split * batches + batch, row, column);
#else
      write_quad(product, batch, row, column
#for j EXTRAS
                 , e${j}_base
#end
                 );
#end
    }
  }
  workgroupBarrier();
#end
#end
}
