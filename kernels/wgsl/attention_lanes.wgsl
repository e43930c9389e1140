// attention_lanes.wgsl - attention with little text and without workgroup memory, whose barriers a
// CPU's compiler takes long for (see matmul_lanes.wgsl): a workgroup is one subgroup, and takes
// ROWS rows of a group. It walks over the keys that they see, four for a lane at a time, with a
// softmax that goes along. Each lane has the scores of its keys, then SUMS fours of the results of
// all rows; lane r has q of row r, and hands it round.
#include attention_load
#include attention_store

const LANES = ${LANES}u;
const KEYS = 4u * LANES;

// By row. Scores of the lane's keys, LANES apart, then weights; the largest score of all lanes so
// far, what sums up to now are multiplied by for it, and the lane's sum of weights.
var<private> weights: array<vec4<f32>, ${ROWS}>;
var<private> largest: array<f32, ${ROWS}>;
var<private> factors: array<f32, ${ROWS}>;
var<private> totals: array<f32, ${ROWS}>;

// From scores to weights, of the lane's keys from `number` on.
fn weigh(r: u32, number: u32) {
  var own = weights[r];
  for (var i = 0u; i < 4u; i++) {
    own[i] = score_of(own[i], shared_rows[r], number + i * LANES);
  }
  let most = subgroupMax(max(largest[r], max(max(own.x, own.y), max(own.z, own.w))));
  let factor = exp(max(largest[r] - most, -87.0));
  own = weights_of(own, most);
  weights[r] = own;
  largest[r] = most;
  factors[r] = factor;
  totals[r] = totals[r] * factor + dot(own, vec4<f32>(1.0));
}

@compute @workgroup_size(LANES) ${SUBGROUP_SIZE_ATTRIBUTE}
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32) {
#include attention_block
  for (var r = 0u; r < ${ROWS}u; r++) {
    load_row(place, r);
    largest[r] = LEAST;
    totals[r] = 0.0;
  }
  var own_q: array<vec4<f32>, D4>;
  for (var c = 0u; c < D4; c++) {
    own_q[c] = q_part(lane % ${ROWS}u, c);
  }
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
      let q = own_q[c];
#for K 4
      let k_${K} = k_part(k_at${K}, c);
#end
#for J 4
      let keys_${J} = vec4<f32>(k_0[${J}], k_1[${J}], k_2[${J}], k_3[${J}]);
#for R ROWS
      scores_${R} += subgroupBroadcast(q[${J}], ${R}u) * keys_${J};
#end
#end
    }
#for R ROWS
    weights[${R}] = scores_${R};
#end
    for (var r = 0u; r < ${ROWS}u; r++) {
      weigh(r, first + lane);
    }
#for R ROWS
    let factor_${R} = factors[${R}];
#for S SUMS
    sum_${R}_${S} *= factor_${R};
#end
#end
    for (var n = 0u; n < min(KEYS, seen.y - first); n++) {
#for S SUMS
      let v_${S} = v_part(start_v + (first + n) * params.v_row, min(lane + ${S}u * LANES, E4 - 1u));
#end
#for R ROWS
      let w_${R} = subgroupShuffle(weights[${R}][n / LANES], n % LANES);
#for S SUMS
      sum_${R}_${S} += w_${R} * v_${S};
#end
#end
    }
  }

  var sums: array<vec4<f32>, ${ROWS} * ${SUMS}>;
#for R ROWS
#for S SUMS
  sums[${R} * ${SUMS} + ${S}] = sum_${R}_${S};
#end
#end
  for (var r = 0u; r < ${ROWS}u; r++) {
    let total = subgroupAdd(totals[r]);
    for (var s = 0u; s < ${SUMS}u; s++) {
      let part = lane + s * LANES;
      if (place.row + r < place.rows && part < E4) {
        store_row(place.batch, place.group, place.row + r, part, sums[r * ${SUMS}u + s],
          largest[r], total);
      }
    }
  }
}
