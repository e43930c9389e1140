// gemv.wgsl - y = expression(a b, ...) for ROWS rows (few) and constant words b (src/gpu/matmul.h):
// a workgroup has WX quads of columns and SLICES lanes for each, which share out k. A lane takes
// UNIT positions of k at a time, in one block of scales; neighbours read neighbouring 16 bytes. The
// lanes' sums meet in workgroup memory, with SUBGROUPS by shuffles first.

#include matmul_params
#include matmul_epilogue
#include matmul_weights
#if ROUNDED
#include matmul_rounded
#end

const WX = ${WX}u;
const SLICES = ${SLICES}u;
const THREADS = ${WX}u * ${SLICES}u;
const UNIT = ${UNIT}u;

var<workgroup> sums: array<vec4<f32>, ${WX} * ${SLICES} * ${ROWS}>;

#if ROUNDED
#else
fn load_a(base: u32, row: u32, k: u32, k_end: u32) -> vec4<f32> {
  let at = base + row * params.a_row + k;
#if A_VEC4
  if (k < k_end) { return a4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
#for j 4
  if (k + ${j}u < k_end) { v[${j}] = a(at + ${j}u); }
#end
  return v;
#end
}
#end

@compute @workgroup_size(${WX} * ${SLICES}) ${SUBGROUP_SIZE_ATTRIBUTE}
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
#if SUBGROUPS
        @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_id) subgroup: u32) {
  let index = subgroup * lanes + lane;
#else
        @builtin(local_invocation_index) index: u32) {
#end
  let item = group.y * groups.x + group.x;
  if (item >= params.items) { return; }
  let quads = (params.n + 3u) / 4u;
  let tiles = (quads + WX - 1u) / WX;
#include matmul_split
#include matmul_batch
  let quad = min(item % tiles * WX + index % WX, quads - 1u);
#for r ROWS
  var sum${r} = vec4<f32>();
#end
  for (var k = k_begin + index / WX * UNIT; k < k_end; k += SLICES * UNIT) {
    let word = k / PER_WORD;
#if CODES
#for r ROWS
#if ROUNDED
    var in_unit${r} = vec4<i32>();
    var total${r} = 0;
#else
    var in_unit${r} = vec4<f32>();
    var total${r} = vec4<f32>();
#end
#end
#end
#for w UNIT_WORDS
    let words${w} = quad_words(b_base, quad, min(word + ${w}u, params.b_words - 1u));
#end
#for w UNIT_WORDS
#if CODES
#for f FIELDS
    {
#if ROUNDED
      let codes = signed_codes(field_of(words${w}, ${f}u));
#for r ROWS
      let a${r} = rounded_word(a_base + ${r}u * params.a_row + k / 4u +
                               ${w}u * PER_WORD / 4u + ${f}u);
      total${r} += total_of(a${r});
      in_unit${r} += dots(a${r}, codes);
#end
#else
      let codes = field_of(words${w}, ${f}u);
      let b0 = bytes_of(codes, 0u);
      let b1 = bytes_of(codes, 1u);
      let b2 = bytes_of(codes, 2u);
      let b3 = bytes_of(codes, 3u);
#for r ROWS
      let a${r} = load_a(a_base, ${r}u, k + ${w}u * PER_WORD + ${f}u * 4u, k_end);
      total${r} += a${r};
      in_unit${r} += a${r}.x * b0;
      in_unit${r} += a${r}.y * b1;
      in_unit${r} += a${r}.z * b2;
      in_unit${r} += a${r}.w * b3;
#end
#end
    }
#end
#end
#end
#if CODES
    let place = scale_index(quad, k);
    let scale = scale_of(place);
#if ROUNDED
    let zero = zero_of(place) - vec4<f32>(MIDDLE);
#for r ROWS
    sum${r} += rounded_scale(batch * params.m + ${r}u, k) *
               (scale * (vec4<f32>(in_unit${r}) - zero * f32(total${r})));
#end
#else
    let zero = zero_of(place);
#for r ROWS
    sum${r} += scale * (in_unit${r} - zero * dot(total${r}, vec4<f32>(1.0)));
#end
#end
#else
#for r ROWS
    {
      let a0 = load_a(a_base, ${r}u, k, k_end);
#if BITS == 16
      sum${r} += a0.x * half_of(words0, 0u) + a0.y * half_of(words0, 1u);
      sum${r} += a0.z * half_of(words1, 0u) + a0.w * half_of(words1, 1u);
      let a1 = load_a(a_base, ${r}u, k + 4u, k_end);
      sum${r} += a1.x * half_of(words2, 0u) + a1.y * half_of(words2, 1u);
      sum${r} += a1.z * half_of(words3, 0u) + a1.w * half_of(words3, 1u);
#else
      sum${r} += a0.x * bitcast<vec4<f32>>(words0) + a0.y * bitcast<vec4<f32>>(words1);
      sum${r} += a0.z * bitcast<vec4<f32>>(words2) + a0.w * bitcast<vec4<f32>>(words3);
#end
    }
#end
#end
  }
#if SUBGROUPS
  for (var step = WX; step < lanes; step = step * 2u) {
#for r ROWS
    sum${r} += subgroupShuffleXor(sum${r}, step);
#end
  }
  let share = max(lanes, WX);
  if (lane < WX) {
    let to = index / share * WX + index % WX;
#for r ROWS
    sums[${r}u * THREADS + to] = sum${r};
#end
  }
  workgroupBarrier();
  let parts = THREADS / share;
#else
#for r ROWS
  sums[${r}u * THREADS + index] = sum${r};
#end
  workgroupBarrier();
  for (var parts = SLICES / 2u; parts >= 4u; parts = parts / 2u) {
    if (index < parts * WX) {
#for r ROWS
      sums[${r}u * THREADS + index] += sums[${r}u * THREADS + index + parts * WX];
#end
    }
    workgroupBarrier();
  }
  let parts = min(SLICES, 4u);
#end
  for (var i = index; i < WX * ${ROWS}u; i += THREADS) {
    let row = i / WX;
    let column = (item % tiles * WX + i % WX) * 4u;
    var product = vec4<f32>();
    for (var p = 0u; p < parts; p += 1u) {
      product += sums[row * THREADS + p * WX + i % WX];
    }
    if (column < params.n) {
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
}
