// gemv.wgsl - y = expression(a b, ...) for ROWS rows (few) and constant words b (src/gpu/matmul.h):
// a workgroup has WX quads of columns and SLICES lanes for each, which share out k. A lane takes
// UNIT positions of k at a time, in one block of scales; neighbours read neighbouring 16 bytes. The
// lanes' sums meet in workgroup memory, with SUBGROUPS by shuffles first.
//
// NORM: a is an RMS norm, x / sqrt(mean x^2 + epsilon) weight: x is bound, and each workgroup finds
// the roots for itself. STAGED: so many vec4s of each row, of the
// norm's results, lie in workgroup memory.
// PAIR: a second product, with the words c, which is an input of the expression.
// HALF: the results of norm and second product are f16.
// ROUNDED is 2: each workgroup rounds the rows to 8 bits itself.

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
const ALL = THREADS * ${ROWS}u;

var<workgroup> sums: array<vec4<f32>, ${PRODUCTS} * ${WX} * ${SLICES} * ${ROWS}>;
#if NORM
var<workgroup> squares: array<f32, ${WX} * ${SLICES} * ${ROWS}>;
#end

fn as_stored(v: vec4<f32>) -> vec4<f32> {
#if HALF
  return vec4<f32>(unpack2x16float(pack2x16float(v.xy)), unpack2x16float(pack2x16float(v.zw)));
#else
  return v;
#end
}

#if PAIR
fn pair_words(base: u32, quad: u32, word: u32) -> vec4<u32> {
  return c_raw[quad_start(base, quad) + word * PANEL];
}
#if CODES
fn pair_scale(index: u32) -> vec4<f32> {
  return c_scales4(params.scale_start + index);
}
fn pair_zero(index: u32) -> vec4<f32> {
#if ZEROS
  return vec4<f32>(c_zeros4(params.zero_start + index));
#else
  return zero_of(index);
#end
}
#end
#end

#if ROUNDED == 1
#else
var<private> first: u32; // element of the first row
#if NORM
var<private> factors: array<f32, ${ROWS}>;
#end

fn load_row(row: u32, k: u32) -> vec4<f32> {
  let at = first + row * params.a_row + k;
#if A_VEC4
  if (k < params.k) { return a4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
#for j 4
  if (k + ${j}u < params.k) { v[${j}] = a(at + ${j}u); }
#end
  return v;
#end
}

// Four numbers of a row of a from k on.
fn load(row: u32, k: u32) -> vec4<f32> {
  let v = load_row(row, k);
#if NORM
  return as_stored(v * factors[row] * norm4(params.norm_start + min(k, params.k - 4u) / 4u));
#else
  return v;
#end
}

#if NORM
// Of invocation `index`; SUBGROUPS: `lanes` of them.
fn find_factors(index: u32, lanes: u32) {
#for r ROWS
  {
    var square = 0.0;
    for (var k = index * 4u; k < params.k; k += THREADS * 4u) {
      let v = load_row(${r}u, k);
      square += dot(v, v);
    }
#if SUBGROUPS
    square = subgroupAdd(square);
#end
    squares[${r}u * THREADS + index] = square;
  }
#end
  workgroupBarrier();
#if SUBGROUPS
  let step = lanes;
  let end = THREADS;
#else
  if (index < 16u) {
#for r ROWS
    for (var i = index + 16u; i < THREADS; i += 16u) {
      squares[${r}u * THREADS + index] += squares[${r}u * THREADS + i];
    }
#end
  }
  workgroupBarrier();
  let step = 1u;
  let end = 16u;
#end
#for r ROWS
  {
    var square = 0.0;
    for (var i = 0u; i < end; i += step) { square += squares[${r}u * THREADS + i]; }
    factors[${r}] = inverseSqrt(square / f32(params.k) + params.epsilon);
  }
#end
}
#end
#end

#if STAGED
var<workgroup> staged: array<vec4<f32>, ${ROWS} * ${STAGED}>;

fn load_a(row: u32, k: u32) -> vec4<f32> {
  if (k < params.k) { return staged[row * ${STAGED}u + k / 4u]; }
  return vec4<f32>();
}
#else
#if ROUNDED
#else
fn load_a(row: u32, k: u32) -> vec4<f32> {
  return load(row, k);
}
#end
#end

#if ROUNDED == 2
const ROUND_BLOCKS = ${ROUND_BLOCKS}u;
const ROW_WORDS = ${ROUND_BLOCKS}u * ${ROUND_BLOCK}u / 4u;
var<workgroup> row_codes: array<u32, ${ROWS} * ${ROUND_BLOCKS} * ${ROUND_BLOCK} / 4>;
var<workgroup> row_scales: array<f32, ${ROWS} * ${ROUND_BLOCKS}>;

fn put_code(at: u32, codes: u32) {
  row_codes[at] = codes;
}

#include matmul_round
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
#for p PRODUCTS
#for r ROWS
  var sum${r}_${p} = vec4<f32>();
#end
#end
#if ROUNDED == 1
#else
  first = a_base;
#if NORM
#if SUBGROUPS
  find_factors(index, lanes);
#else
  find_factors(index, 1u);
#end
#end
#end
#if STAGED
#for r ROWS
  for (var i = index; i < ${STAGED}u; i += THREADS) {
    staged[${r}u * ${STAGED}u + i] = load(${r}u, i * 4u);
  }
#end
  workgroupBarrier();
#end
#if ROUNDED == 2
  for (var i = index; i < ${ROWS}u * ROUND_BLOCKS; i += THREADS) {
    let row = i / ROUND_BLOCKS;
    let k0 = i % ROUND_BLOCKS * ${ROUND_BLOCK}u;
    row_scales[i] = bitcast<f32>(round_block(row, k0, row * ROW_WORDS + k0 / 4u));
  }
  workgroupBarrier();
#end
  for (var k = k_begin + index / WX * UNIT; k < k_end; k += SLICES * UNIT) {
    let word = k / PER_WORD;
#for p PRODUCTS
#for w UNIT_WORDS
#if ${p}
    let words${w}_${p} = pair_words(b_base, quad, min(word + ${w}u, params.b_words - 1u));
#else
    let words${w}_${p} = quad_words(b_base, quad, min(word + ${w}u, params.b_words - 1u));
#end
#end
#end
#if CODES
#for r ROWS
#if ROUNDED
    var total${r} = 0;
#else
    var total${r} = vec4<f32>();
#end
#for p PRODUCTS
#if ROUNDED
    var in_unit${r}_${p} = vec4<i32>();
#else
    var in_unit${r}_${p} = vec4<f32>();
#end
#end
#end
#for w UNIT_WORDS
#for f FIELDS
    {
#for r ROWS
#if ROUNDED == 1
      let a${r} = rounded_word(a_base + ${r}u * params.a_row + k / 4u +
                               ${w}u * PER_WORD / 4u + ${f}u);
      total${r} += total_of(a${r});
#end
#if ROUNDED == 2
      let a${r} = row_codes[${r}u * ROW_WORDS + k / 4u + ${w}u * PER_WORD / 4u + ${f}u];
      total${r} += total_of(a${r});
#end
#if ROUNDED
#else
      let a${r} = load_a(${r}u, k + ${w}u * PER_WORD + ${f}u * 4u);
      total${r} += a${r};
#end
#end
#for p PRODUCTS
      let codes${p} = field_of(words${w}_${p}, ${f}u);
#if ROUNDED
      let signed${p} = signed_codes(codes${p});
#for r ROWS
      in_unit${r}_${p} += dots(a${r}, signed${p});
#end
#else
      let b0_${p} = bytes_of(codes${p}, 0u);
      let b1_${p} = bytes_of(codes${p}, 1u);
      let b2_${p} = bytes_of(codes${p}, 2u);
      let b3_${p} = bytes_of(codes${p}, 3u);
#for r ROWS
      in_unit${r}_${p} += a${r}.x * b0_${p};
      in_unit${r}_${p} += a${r}.y * b1_${p};
      in_unit${r}_${p} += a${r}.z * b2_${p};
      in_unit${r}_${p} += a${r}.w * b3_${p};
#end
#end
#end
    }
#end
#end
    let place = scale_index(quad, k);
#for p PRODUCTS
#if ${p}
    let scale${p} = pair_scale(place);
    let own_zero${p} = pair_zero(place);
#else
    let scale${p} = scale_of(place);
    let own_zero${p} = zero_of(place);
#end
#if ROUNDED
    let zero${p} = own_zero${p} - vec4<f32>(MIDDLE);
#for r ROWS
#if ROUNDED == 1
    let row_scale${r}_${p} = rounded_scale(batch * params.m + ${r}u, k);
#else
    let row_scale${r}_${p} = row_scales[${r}u * ROUND_BLOCKS + k / ${ROUND_BLOCK}u];
#end
    sum${r}_${p} += row_scale${r}_${p} *
                    (scale${p} * (vec4<f32>(in_unit${r}_${p}) - zero${p} * f32(total${r})));
#end
#else
#for r ROWS
    sum${r}_${p} += scale${p} *
                    (in_unit${r}_${p} - own_zero${p} * dot(total${r}, vec4<f32>(1.0)));
#end
#end
#end
#else
#for r ROWS
    {
      let a0 = load_a(${r}u, k);
#if BITS == 16
      let a1 = load_a(${r}u, k + 4u);
#end
#for p PRODUCTS
#if BITS == 16
      sum${r}_${p} += a0.x * half_of(words0_${p}, 0u) + a0.y * half_of(words0_${p}, 1u);
      sum${r}_${p} += a0.z * half_of(words1_${p}, 0u) + a0.w * half_of(words1_${p}, 1u);
      sum${r}_${p} += a1.x * half_of(words2_${p}, 0u) + a1.y * half_of(words2_${p}, 1u);
      sum${r}_${p} += a1.z * half_of(words3_${p}, 0u) + a1.w * half_of(words3_${p}, 1u);
#else
#for w 4
      sum${r}_${p} += a0[${w}] * bitcast<vec4<f32>>(words${w}_${p});
#end
#end
#end
    }
#end
#end
  }
#if SUBGROUPS
  for (var step = WX; step < lanes; step = step * 2u) {
#for p PRODUCTS
#for r ROWS
    sum${r}_${p} += subgroupShuffleXor(sum${r}_${p}, step);
#end
#end
  }
  let share = max(lanes, WX);
  if (lane < WX) {
    let to = index / share * WX + index % WX;
#for p PRODUCTS
#for r ROWS
    sums[${p}u * ALL + ${r}u * THREADS + to] = sum${r}_${p};
#end
#end
  }
  workgroupBarrier();
  let parts = THREADS / share;
#else
#for p PRODUCTS
#for r ROWS
  sums[${p}u * ALL + ${r}u * THREADS + index] = sum${r}_${p};
#end
#end
  workgroupBarrier();
  for (var parts = SLICES / 2u; parts >= 4u; parts = parts / 2u) {
    if (index < parts * WX) {
#for p PRODUCTS
#for r ROWS
      sums[${p}u * ALL + ${r}u * THREADS + index] +=
          sums[${p}u * ALL + ${r}u * THREADS + index + parts * WX];
#end
#end
    }
    workgroupBarrier();
  }
  let parts = min(SLICES, 4u);
#end
  for (var i = index; i < WX * ${ROWS}u; i += THREADS) {
    let row = i / WX;
    let column = (item % tiles * WX + i % WX) * 4u;
#for p PRODUCTS
    var product${p} = vec4<f32>();
    for (var p = 0u; p < parts; p += 1u) {
      product${p} += sums[${p}u * ALL + row * THREADS + p * WX + i % WX];
    }
#end
    if (column < params.n) {
#if SPLITS
      write_quad(product0, split * batches + batch, row, column);
#else
      write_quad(product0,
#if PAIR
                 as_stored(product1),
#end
                 batch, row, column
#for j EXTRAS
                 , e${j}_base
#end
                 );
#end
    }
  }
}
