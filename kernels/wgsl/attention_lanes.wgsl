// attention_lanes.wgsl - attention of many rows with little text, for GPUs that are CPUs (see
// matmul_lanes.wgsl): a workgroup is one subgroup, and takes ROWS rows of a group. It walks over
// the keys that they see, four for a lane at a time, with a softmax that goes along. Each lane has
// the scores of its keys, then SUMS fours of the results of all rows. Rows of q lie in GROUPS
// registers of PER lanes, and are handed round.
#include attention_load
#include attention_store

const LANES = ${LANES}u;
const KEYS = 4u * LANES;

var<workgroup> shared_q: array<vec4<f32>, ${ROWS}u * D4>;
var<workgroup> weights: array<f32, ${ROWS}u * KEYS>; // [row][key]; scores at first
// Each lane's own, [row][lane]:
var<workgroup> largest: array<f32, ${ROWS}u * LANES>;
var<workgroup> factors: array<f32, ${ROWS}u * LANES>;
var<workgroup> totals: array<f32, ${ROWS}u * LANES>;

// From scores to weights, of the lane's keys from `number` on.
fn weigh(r: u32, lane: u32, number: u32) {
  let own = r * LANES + lane;
  let row = shared_rows[r];
  let before = largest[own];
  var most = before;
  for (var i = lane; i < KEYS; i += LANES) {
    let score = score_of(weights[r * KEYS + i], row, number + i - lane);
    weights[r * KEYS + i] = score;
    most = max(most, score);
  }
  most = subgroupMax(most);
  let factor = exp(max(before - most, -87.0));
  var total = totals[own] * factor;
  for (var i = lane; i < KEYS; i += LANES) {
    let weight = weight_of(weights[r * KEYS + i], most);
    weights[r * KEYS + i] = weight;
    total += weight;
  }
  largest[own] = most;
  factors[own] = factor;
  totals[own] = total;
}

@compute @workgroup_size(LANES) ${SUBGROUP_SIZE_ATTRIBUTE}
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32) {
#include attention_block
  for (var r = 0u; r < ${ROWS}u; r++) {
    if (r % LANES == lane) {
      load_row(place, r);
    }
    largest[r * LANES + lane] = LEAST;
    totals[r * LANES + lane] = 0.0;
  }
  workgroupBarrier();
  for (var i = lane; i < ${ROWS}u * D4; i += LANES) {
    shared_q[i] = q_part(i / D4, i % D4);
  }
  workgroupBarrier();
#for R ROWS
#for S SUMS
  var sum_${R}_${S} = vec4<f32>(0.0);
#end
#end
  for (var first = seen.x; first < seen.y; first += KEYS) {
#for K 4
    let k_at${K} = start_k + min(first + lane + ${K}u * LANES, seen.y - 1u) * params.k_row;
#end
#for R ROWS
    var scores_${R} = vec4<f32>(0.0);
#end
    for (var c = 0u; c < D4; c++) {
#for G GROUPS
      let q_${G} = shared_q[(${G}u * ${PER}u + lane % ${PER}u) * D4 + c];
#end
#for K 4
      let k_${K} = k_part(k_at${K}, c);
#end
#for J 4
      let keys_${J} = vec4<f32>(k_0[${J}], k_1[${J}], k_2[${J}], k_3[${J}]);
#for R ROWS
      scores_${R} += subgroupBroadcast(q_${R/PER}[${J}], ${R%PER}u) * keys_${J};
#end
#end
    }
#for R ROWS
#for K 4
    weights[${R}u * KEYS + ${K}u * LANES + lane] = scores_${R}[${K}];
#end
#end
    for (var r = 0u; r < ${ROWS}u; r++) {
      weigh(r, lane, first + lane);
    }
    workgroupBarrier();
#for R ROWS
    let factor_${R} = factors[${R}u * LANES + lane];
#for S SUMS
    sum_${R}_${S} *= factor_${R};
#end
#end
    for (var n = 0u; n < min(KEYS, seen.y - first); n++) {
#for G GROUPS
      let weight_${G} = weights[(${G}u * ${PER}u + lane % ${PER}u) * KEYS + n];
#end
#for S SUMS
      let v_${S} = v_part(start_v + (first + n) * params.v_row, min(lane + ${S}u * LANES, E4 - 1u));
#end
#for R ROWS
      let w_${R} = subgroupBroadcast(weight_${R/PER}, ${R%PER}u);
#for S SUMS
      sum_${R}_${S} += w_${R} * v_${S};
#end
#end
    }
    workgroupBarrier();
  }

  var sums: array<vec4<f32>, ${ROWS} * ${SUMS}>;
#for R ROWS
#for S SUMS
  sums[${R} * ${SUMS} + ${S}] = sum_${R}_${S};
#end
#end
  for (var r = 0u; r < ${ROWS}u; r++) {
    let own = r * LANES + lane;
    let total = subgroupAdd(totals[own]);
    for (var s = 0u; s < ${SUMS}u; s++) {
      let part = lane + s * LANES;
      if (place.row + r < place.rows && part < E4) {
        store_row(place.batch, place.group, place.row + r, part, sums[r * ${SUMS}u + s],
          largest[own], total);
      }
    }
  }
}
