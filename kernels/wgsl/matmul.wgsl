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

fn load_a(base: u32, row: u32, k: u32, k_end: u32) -> vec4<f32> {
  let at = base + row * params.a_row + k;
#if A_VEC4
  if (row < params.m && k < k_end) { return a4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (row < params.m) {
#for j 4
    if (k + ${j}u < k_end) { v[${j}] = a(at + ${j}u); }
#end
  }
  return v;
#end
}

#if BITS
#else
// Four elements of B from (k, n) on: along n, or where TRANSPOSED along k.
fn load_b(base: u32, k: u32, n: u32, k_end: u32) -> vec4<f32> {
#if TRANSPOSED
  let at = base + n * params.b_row + k;
#if B_VEC4
  if (n < params.n && k < k_end) { return b4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (n < params.n) {
#for j 4
    if (k + ${j}u < k_end) { v[${j}] = b(at + ${j}u); }
#end
  }
  return v;
#end
#else
  let at = base + k * params.b_row + n;
#if B_VEC4
  if (n < params.n && k < k_end) { return b4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (k < k_end) {
#for j 4
    if (n + ${j}u < params.n) { v[${j}] = b(at + ${j}u); }
#end
  }
  return v;
#end
#end
}
#end

@compute @workgroup_size(${WX}, ${WY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) local: vec3<u32>) {
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
#if SPLITS
  let batches = params.items / tiles / ${SPLITS}u;
  let split = item / tiles / batches;
  let batch = item / tiles % batches;
  let k_begin = split * params.split_k;
  let k_end = min(params.k, k_begin + params.split_k);
#else
  let batch = item / tiles;
  let k_begin = 0u;
  let k_end = params.k;
#end
#include matmul_batch
#if BITS
  let quads = (params.n + 3u) / 4u;
#end
  let index = local.y * WX + local.x;
#for r ROWS
#for q QUADS
  var sum${r}_${q} = vec4<f32>();
#end
#end
  for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
    for (var i = index; i < TILE_M * K4; i += THREADS) {
      let row = i / K4;
      let k4 = i % K4;
      tile_a[a_place(row, k4)] = tile4(load_a(a_base, row0 + row, k0 + 4u * k4, k_end));
    }
#if BITS
    for (var i = index; i < TILE_K / PER_WORD * TILE_Q; i += THREADS) {
      // Past the end the last ones are read again: A is zero there, or nothing is stored.
      let quad = min(quad0 + i % TILE_Q, quads - 1u);
      let word = min(k0 / PER_WORD + i / TILE_Q, params.b_words - 1u);
      let to = i / TILE_Q * PER_WORD * TILE_Q + i % TILE_Q;
      let words = quad_words(b_base, quad, word);
#if CODES
      let place = scale_index(quad, word * PER_WORD);
      let scale = scale_of(place);
      let zero = zero_of(place);
#for f FIELDS
      let field${f} = field_of(words, ${f}u);
#for j 4
      tile_b[to + ${f}u * 4u * TILE_Q + ${j}u * TILE_Q] =
          tile4((bytes_of(field${f}, ${j}u) - zero) * scale);
#end
#end
#end
#if BITS == 16
      tile_b[to] = tile4(half_of(words, 0u));
      tile_b[to + TILE_Q] = tile4(half_of(words, 1u));
#end
#if BITS == 32
      tile_b[to] = tile4(bitcast<vec4<f32>>(words));
#end
    }
#else
#if TRANSPOSED
    for (var i = index; i < K4 * TILE_Q; i += THREADS) {
      let n = (quad0 + i % TILE_Q) * 4u;
      let k = k0 + i / TILE_Q * 4u;
      let to = i / TILE_Q * 4u * TILE_Q + i % TILE_Q;
      let v0 = load_b(b_base, k, n, k_end);
      let v1 = load_b(b_base, k, n + 1u, k_end);
      let v2 = load_b(b_base, k, n + 2u, k_end);
      let v3 = load_b(b_base, k, n + 3u, k_end);
      tile_b[to] = tile4(vec4<f32>(v0.x, v1.x, v2.x, v3.x));
      tile_b[to + TILE_Q] = tile4(vec4<f32>(v0.y, v1.y, v2.y, v3.y));
      tile_b[to + 2u * TILE_Q] = tile4(vec4<f32>(v0.z, v1.z, v2.z, v3.z));
      tile_b[to + 3u * TILE_Q] = tile4(vec4<f32>(v0.w, v1.w, v2.w, v3.w));
    }
#else
    for (var i = index; i < TILE_K * TILE_Q; i += THREADS) {
      tile_b[i] = tile4(load_b(b_base, k0 + i / TILE_Q, (quad0 + i % TILE_Q) * 4u, k_end));
    }
#end
#end
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
#for r ROWS
#for q QUADS
  {
    let row = row0 + local.y * ${ROWS}u + ${r}u;
    let column = (quad0 + local.x + ${q}u * WX) * 4u;
    if (row < params.m && column < params.n) {
#if SPLITS
      write_quad(sum${r}_${q}, split * batches + batch, row, column);
#else
      write_quad(sum${r}_${q}, batch, row, column
#for j EXTRAS
                 , e${j}_base
#end
                 );
#end
    }
  }
#end
#end
}
