// attention.wgsl - attention of many rows: a workgroup takes ROWS rows of a group and walks over
// the keys that they see, KEYS at a time, with a softmax that goes along (Dao et al.,
// FlashAttention, arXiv 2205.14135). Scores are products of tiles of workgroup memory, CHUNK4 x 4
// of D at a time; values come VALUE_KEYS keys at a time. A thread has the scores of 4 rows and 4
// keys, and of the results SUMS times 4 rows x 4 elements.
//
// The thread in column c of ACROSS = KEYS / 4 has keys c, c + ACROSS, c + 2 ACROSS, c + 3 ACROSS of
// a tile, so that neighbours read neighbouring rows.
//
// ONE_CHUNK: CHUNK4 covers D, and q is read once. SUBGROUPS: ACROSS, a power of two, divides all
// sizes of subgroups, whose invocations follow the workgroup's.
#include attention_load
#include attention_store

const ACROSS = ${KEYS}u / 4u;
const THREADS = ${ROWS}u / 4u * ACROSS;
const CHUNKS = (D4 + ${CHUNK4}u - 1u) / ${CHUNK4}u;
const VALUE_CHUNKS = ${KEYS}u / ${VALUE_KEYS}u;
const TILES = ${ROWS}u / 4u * E4; // of results
const ROW4 = ${CHUNK4}u + 1u; // of a tile of q or k, in fours: uneven for the banks of memory

#if TILE_F16
alias Tile = vec4<f16>;
#else
alias Tile = vec4<f32>;
#end
var<workgroup> tile_q: array<Tile, ${ROWS}u * ROW4>;
var<workgroup> tile_kv: array<Tile, max(${KEYS}u * ROW4, ${VALUE_KEYS}u * E4)>;
var<workgroup> weights: array<vec4<f32>, ${ROWS}u * ACROSS>; // [row][column], of its four keys
var<workgroup> by_thread: array<vec4<f32>, THREADS>; // of four rows each:
var<workgroup> by_rows: array<vec4<f32>, ${ROWS}u / 4u>;

fn load_q(thread: u32, chunk: u32) {
  for (var i = thread; i < ${ROWS}u * ${CHUNK4}u; i += THREADS) {
    let row = i / ${CHUNK4}u;
    let part = chunk * ${CHUNK4}u + i % ${CHUNK4}u;
    var value = vec4<f32>(0.0);
    if (part < D4) {
      value = q_part(row, part);
    }
    tile_q[row * ROW4 + i % ${CHUNK4}u] = Tile(value);
  }
}

// Keys from `first` on, as far as they lie before `end`.
fn load_k(thread: u32, chunk: u32, start: u32, first: u32, end: u32) {
  for (var i = thread; i < ${KEYS}u * ${CHUNK4}u; i += THREADS) {
    let row = i / ${CHUNK4}u;
    let part = chunk * ${CHUNK4}u + i % ${CHUNK4}u;
    var value = vec4<f32>(0.0);
    if (part < D4 && first + row < end) {
      value = k_part(start + (first + row) * params.k_row, part);
    }
    tile_kv[row * ROW4 + i % ${CHUNK4}u] = Tile(value);
  }
}

// In the order in which weights go along: the four keys of a column follow each other.
fn load_v(thread: u32, chunk: u32, start: u32, first: u32, end: u32) {
  for (var i = thread; i < ${VALUE_KEYS}u * E4; i += THREADS) {
    let row = i / E4;
    let number = first + chunk * (${VALUE_KEYS}u / 4u) + row / 4u + ACROSS * (row % 4u);
    var value = vec4<f32>(0.0);
    if (number < end) {
      value = v_part(start + number * params.v_row, i % E4);
    }
    tile_kv[i] = Tile(value);
  }
}

fn scores_of(products: vec4<f32>, row: vec4<u32>, number: u32) -> vec4<f32> {
  return vec4<f32>(score_of(products.x, row, number), score_of(products.y, row, number + ACROSS),
    score_of(products.z, row, number + 2u * ACROSS),
    score_of(products.w, row, number + 3u * ACROSS));
}

fn largest_of(scores: vec4<f32>) -> f32 {
  return max(max(scores.x, scores.y), max(scores.z, scores.w));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
#include attention_block
  let column = thread % ACROSS;
  let fours = thread / ACROSS; // rows 4 fours ... 4 fours + 3 of the block
  if (thread < ${ROWS}u) {
    load_row(place, thread);
  }
  workgroupBarrier();
#if ONE_CHUNK
  load_q(thread, 0u);
#end
  var largest = vec4<f32>(LEAST);
  var total = vec4<f32>(0.0); // of this thread's keys
#for N SUMS
#for R 4
  var sum_${N}_${R} = vec4<f32>(0.0);
#end
#end
  for (var first = seen.x; first < seen.y; first += ${KEYS}u) {
#for R 4
    var scores_${R} = vec4<f32>(0.0);
#end
    for (var chunk = 0u; chunk < CHUNKS; chunk++) {
      workgroupBarrier();
#if ONE_CHUNK
#else
      load_q(thread, chunk);
#end
      load_k(thread, chunk, start_k, first, seen.y);
      workgroupBarrier();
      for (var c = 0u; c < ${CHUNK4}u; c++) {
#for K 4
        let k_${K} = vec4<f32>(tile_kv[(column + ${K}u * ACROSS) * ROW4 + c]);
#end
#for R 4
        let q_${R} = vec4<f32>(tile_q[(4u * fours + ${R}u) * ROW4 + c]);
        scores_${R} += vec4<f32>(dot(q_${R}, k_0), dot(q_${R}, k_1), dot(q_${R}, k_2),
          dot(q_${R}, k_3));
#end
      }
    }
    // From here on rows take turns in a loop, for the sake of compilers.
#for R 4
    weights[(4u * fours + ${R}u) * ACROSS + column] = scores_${R};
#end
    var most = largest;
    for (var r = 0u; r < 4u; r++) {
      let at = (4u * fours + r) * ACROSS + column;
      let scores = scores_of(weights[at], shared_rows[4u * fours + r], first + column);
      weights[at] = scores;
      most[r] = max(most[r], largest_of(scores));
    }
#if SUBGROUPS
    for (var across = 1u; across < ACROSS; across *= 2u) {
      most = max(most, subgroupShuffleXor(most, across));
    }
    workgroupBarrier();
#else
    by_thread[thread] = most;
    workgroupBarrier();
    for (var c = 0u; c < ACROSS; c++) {
      most = max(most, by_thread[fours * ACROSS + c]);
    }
#end
    let factor = exp(max(largest - most, vec4<f32>(-87.0)));
    largest = most;
    total *= factor;
    for (var r = 0u; r < 4u; r++) {
      let at = (4u * fours + r) * ACROSS + column;
      let row_weights = weights_of(weights[at], most[r]);
      weights[at] = row_weights;
      total[r] += dot(row_weights, vec4<f32>(1.0));
    }
    if (column == 0u) {
      by_rows[fours] = factor;
    }
    for (var chunk = 0u; chunk < VALUE_CHUNKS; chunk++) {
      if (chunk > 0u) {
        workgroupBarrier();
      }
      load_v(thread, chunk, start_v, first, seen.y);
      workgroupBarrier();
#for N SUMS
      {
        let tile = min(thread + ${N}u * THREADS, TILES - 1u);
        let rows = tile / E4;
        if (chunk == 0u) {
          let scale = by_rows[rows];
#for R 4
          sum_${N}_${R} *= scale[${R}];
#end
        }
        for (var c = 0u; c < ${VALUE_KEYS}u / 4u; c++) {
#for K 4
          let v_${K} = vec4<f32>(tile_kv[(4u * c + ${K}u) * E4 + tile % E4]);
#end
#for R 4
          let w_${R} = weights[(4u * rows + ${R}u) * ACROSS + chunk * (${VALUE_KEYS}u / 4u) + c];
          sum_${N}_${R} += w_${R}.x * v_0 + w_${R}.y * v_1 + w_${R}.z * v_2 + w_${R}.w * v_3;
#end
        }
      }
#end
    }
  }

  workgroupBarrier();
  by_thread[thread] = total;
  if (column == 0u) {
    by_rows[fours] = largest;
  }
  workgroupBarrier();
#for N SUMS
  {
    let tile = thread + ${N}u * THREADS;
    if (tile < TILES) {
      let rows = tile / E4;
      var totals = vec4<f32>(0.0);
      for (var c = 0u; c < ACROSS; c++) {
        totals += by_thread[rows * ACROSS + c];
      }
      let most = by_rows[rows];
      for (var r = 0u; r < 4u; r++) {
        var sum = sum_${N}_0;
#for R 4
        if (r == ${R}u) {
          sum = sum_${N}_${R};
        }
#end
        if (place.row + 4u * rows + r < place.rows) {
          store_row(place.batch, place.group, place.row + 4u * rows + r, tile % E4, sum, most[r],
            totals[r]);
        }
      }
    }
  }
#end
}
