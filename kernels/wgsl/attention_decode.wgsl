// attention_decode.wgsl - attention of few rows, as when tokens are generated one by one: keys and
// values are read once, from where they lie, for ROWS rows of a group at a time. A workgroup walks
// over one part of the keys, KEYS at a time: SLICES threads make the scores of a key; then the
// threads in column i4 of E4 add up part i4 of every LANES-th key's values.
//
// APPEND: the rows that the caches k and v get are written first, each by the workgroup that has
// its part of the keys; then there is one block of rows.
//
// SPLIT: the results of params.parts parts go to the scratch, for attention_join. SLICES is 1, or
// with SUBGROUPS a power of two that divides all sizes of subgroups, whose invocations follow the
// workgroup's.
#include attention_load
#if APPEND
#include attention_append
#end
#if SPLIT
#include attention_partial
#else
#include attention_store
#end

const THREADS = ${THREADS}u;
const STEP = THREADS / ${SLICES}u; // keys at once
const LANES = THREADS / E4;

var<workgroup> shared_q: array<vec4<f32>, ${ROWS}u * D4>;
var<workgroup> scores: array<f32, ${KEYS}u * ${ROWS}u>; // [key][row], then weights
var<workgroup> most: array<atomic<u32>, ${ROWS}>; // the largest score so far, see ordered
var<workgroup> sums: array<vec4<f32>, THREADS>;
var<workgroup> totals: array<f32, THREADS>;

// Unsigned numbers in the order of the floats, and back.
fn ordered(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn unordered(x: u32) -> f32 {
  return bitcast<f32>(select(~x, x & 0x7fffffffu, x >= 0x80000000u));
}

// Scores of keys first ... first + KEYS - 1; none is seen from `end` on.
fn find_scores(thread: u32, start: u32, first: u32, end: u32) {
  for (var step = 0u; step < ${KEYS}u; step += STEP) {
    let at = step + thread / ${SLICES}u;
#for R ROWS
    var product_${R} = 0.0;
#end
    if (first + at < end) {
      let row = start + (first + at) * params.k_row;
      for (var i4 = thread % ${SLICES}u; i4 < D4; i4 += ${SLICES}u) {
        let part = k_part(row, i4);
#for R ROWS
        product_${R} += dot(shared_q[${R}u * D4 + i4], part);
#end
      }
    }
#if SUBGROUPS
    for (var across = 1u; across < ${SLICES}u; across *= 2u) {
#for R ROWS
      product_${R} += subgroupShuffleXor(product_${R}, across);
#end
    }
#end
    if (thread % ${SLICES}u == 0u) {
#for R ROWS
      scores[at * ${ROWS}u + ${R}u] = product_${R};
#end
    }
  }
  workgroupBarrier();
  for (var i = thread; i < ${KEYS}u * ${ROWS}u; i += THREADS) {
    let row = i % ${ROWS}u;
    let score = score_of(scores[i], shared_rows[row], first + i / ${ROWS}u);
    scores[i] = score;
    atomicMax(&most[row], ordered(score));
  }
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
  let item = id.y * count.x + id.x;
  if (item >= params.items) {
    return;
  }
  let place = place_of(item / params.parts);
  let part = item % params.parts;
  let seen = seen_by_any(place);
  let begin = max(seen.x, part * params.part_keys);
  let end = min(seen.y, (part + 1u) * params.part_keys);
#if APPEND
  let part_end = select((part + 1u) * params.part_keys, params.rows, part + 1u == params.parts);
  for (var i = thread; i < params.slots * FOURS; i += THREADS) {
    append_four(place.batch, place.group, i, part * params.part_keys, part_end);
  }
  storageBarrier();
#end
  if (thread < ${ROWS}u) {
    load_row(place, thread);
    atomicStore(&most[thread], ordered(LEAST));
  }
  workgroupBarrier();
  for (var i = thread; i < ${ROWS}u * D4; i += THREADS) {
    shared_q[i] = q_part(i / D4, i % D4);
  }
  workgroupBarrier();
  let lane = thread / E4;
  let i4 = thread % E4;
  let start_k = k_start(place);
  let start_v = v_start(place);
#for R ROWS
  var largest_${R} = LEAST;
  var total_${R} = 0.0;
  var sum_${R} = vec4<f32>(0.0);
#end
  for (var first = begin; first < end; first += ${KEYS}u) {
    find_scores(thread, start_k, first, end);
    workgroupBarrier();
    for (var i = thread; i < ${KEYS}u * ${ROWS}u; i += THREADS) {
      scores[i] = weight_of(scores[i], unordered(atomicLoad(&most[i % ${ROWS}u])));
    }
#for R ROWS
    let largest_now_${R} = unordered(atomicLoad(&most[${R}]));
    let factor_${R} = exp(max(largest_${R} - largest_now_${R}, -87.0));
    largest_${R} = largest_now_${R};
    total_${R} *= factor_${R};
    sum_${R} *= factor_${R};
#end
    workgroupBarrier();
    if (lane < LANES) {
      let here = min(end - first, ${KEYS}u);
      for (var at = lane; at < here; at += LANES) {
        let values = v_part(start_v + (first + at) * params.v_row, i4);
#for R ROWS
        let weight_${R} = scores[at * ${ROWS}u + ${R}u];
        total_${R} += weight_${R};
        sum_${R} += weight_${R} * values;
#end
      }
    }
    workgroupBarrier();
  }

  // Rows take turns in a loop, for the sake of compilers.
  for (var r = 0u; r < ${ROWS}u; r++) {
    var largest = largest_0;
#for R ROWS
    if (r == ${R}u) {
      largest = largest_${R};
      sums[thread] = sum_${R};
      totals[thread] = total_${R};
    }
#end
    workgroupBarrier();
    if (thread < E4 && place.row + r < place.rows) {
      var sum = vec4<f32>(0.0);
      var total = 0.0;
      for (var other = 0u; other < LANES; other++) {
        sum += sums[other * E4 + thread];
        total += totals[other * E4 + thread];
      }
#if SPLIT
      store_partial(place, place.row + r, part, thread, sum, largest, total);
#else
      store_row(place.batch, place.group, place.row + r, thread, sum, largest, total);
#end
    }
    workgroupBarrier();
  }
}
