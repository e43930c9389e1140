// attention_append.wgsl - adds rows to the caches k and v, which lie in place: new rows of a batch
// entry end at its length, turned where ROTARY; rows that neither are new nor were there become
// zeros. D and E are multiples of 4. JOINT: the new rows lie in q's memory.
#include attention_common
#if ROTARY
#include attention_turn
#end

#if JOINT
fn added_k(i: u32) -> f32 {
  return q(i);
}
fn added_v(i: u32) -> f32 {
  return q(i);
}
fn added_k4(i: u32) -> vec4<f32> {
  return q4(i);
}
fn added_v4(i: u32) -> vec4<f32> {
  return q4(i);
}
#end

#if ALIGNED
fn new_k(at: u32, i4: u32) -> vec4<f32> {
  return added_k4((at >> 2u) + i4);
}
fn new_v(at: u32, i4: u32) -> vec4<f32> {
  return added_v4((at >> 2u) + i4);
}
#else
fn new_k(at: u32, i4: u32) -> vec4<f32> {
  let i = at + 4u * i4;
  return vec4<f32>(added_k(i), added_k(i + 1u), added_k(i + 2u), added_k(i + 3u));
}
fn new_v(at: u32, i4: u32) -> vec4<f32> {
  let i = at + 4u * i4;
  return vec4<f32>(added_v(i), added_v(i + 1u), added_v(i + 2u), added_v(i + 3u));
}
#end

fn k_to_append(batch: u32, group: u32, token: u32, i4: u32) -> vec4<f32> {
  let at = params.added_k_at + batch * params.added_k_batch + group * params.added_k_group +
    token * params.added_k_row;
  let here = new_k(at, i4);
#if ROTARY
  if (4u * i4 < ${R}u) {
    return turned(here, new_k(at, partner_of(i4)), angles_of(batch, token), i4);
  }
#end
  return here;
}

// Where the new rows start. A length past the attended keys ends there all the same.
fn start_of(batch: u32) -> u32 {
#if LENGTHS
  let length = u32(lengths(params.lengths_at + batch * params.lengths_batch));
#else
  let length = params.keys;
#end
  return select(length - params.queries, 0u, params.is_all != 0u);
}

const FOURS = D4 + E4; // of a row of k and one of v

// Writes four elements of row item / FOURS, where that is one of [begin, end). The new rows come
// first, then those behind the past.
fn append_four(batch: u32, group: u32, item: u32, begin: u32, end: u32) {
  let i4 = item % FOURS;
  let slot = item / FOURS;
  let start = start_of(batch);
  let is_new = slot < params.queries;
  let row = select(params.past_rows + slot - params.queries, start + slot, is_new);
  if (row < begin || row >= end || (!is_new && row - start < params.queries)) {
    return;
  }
  var value = vec4<f32>(0.0);
  if (i4 < D4) {
    if (is_new) {
      value = k_to_append(batch, group, slot, i4);
    }
    let at = params.k_at + batch * params.k_batch + group * params.k_group + row * params.k_row;
    k4_store((at >> 2u) + i4, value);
  } else {
    if (is_new) {
      value = new_v(params.added_v_at + batch * params.added_v_batch +
        group * params.added_v_group + slot * params.added_v_row, i4 - D4);
    }
    let at = params.v_at + batch * params.v_batch + group * params.v_group + row * params.v_row;
    v4_store((at >> 2u) + i4 - D4, value);
  }
}
