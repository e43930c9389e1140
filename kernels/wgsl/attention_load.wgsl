// attention_load.wgsl - reads rows of q, k and v, and turns products into scores. ROTARY: q is
// turned as it is read. ALONE: each invocation loads the rows that it reads itself.
#include attention_common
#if ROTARY
#include attention_turn
#if ALONE
var<private> shared_angles: array<u32, ${ROWS}>;
#else
var<workgroup> shared_angles: array<u32, ${ROWS}>;
#end
#end

// By row: row_of.
#if ALONE
var<private> shared_rows: array<vec4<u32>, ${ROWS}>;
#else
var<workgroup> shared_rows: array<vec4<u32>, ${ROWS}>;
#end
fn load_row(place: Place, row: u32) {
  shared_rows[row] = row_of(place, place.row + row);
#if ROTARY
  shared_angles[row] = angles_of(place.batch, min(place.row + row, place.rows - 1u) / params.heads);
#end
}

fn k_start(place: Place) -> u32 {
  return params.k_at + place.batch * params.k_batch + place.group * params.k_group;
}
fn v_start(place: Place) -> u32 {
  return params.v_at + place.batch * params.v_batch + place.group * params.v_group;
}

// Elements 4 i4 ... 4 i4 + 3 of the row that starts `at`, zeros past its end.
#if ALIGNED
fn q_four(at: u32, i4: u32) -> vec4<f32> {
  return q4((at >> 2u) + i4);
}
fn k_part(at: u32, i4: u32) -> vec4<f32> {
  return k4((at >> 2u) + i4);
}
fn v_part(at: u32, i4: u32) -> vec4<f32> {
  return v4((at >> 2u) + i4);
}
#else
fn q_four(at: u32, i4: u32) -> vec4<f32> {
  var part = vec4<f32>(0.0);
#for I 4
  if (4u * i4 + ${I}u < ${D}u) {
    part[${I}] = q(at + 4u * i4 + ${I}u);
  }
#end
  return part;
}
fn k_part(at: u32, i4: u32) -> vec4<f32> {
  var part = vec4<f32>(0.0);
#for I 4
  if (4u * i4 + ${I}u < ${D}u) {
    part[${I}] = k(at + 4u * i4 + ${I}u);
  }
#end
  return part;
}
fn v_part(at: u32, i4: u32) -> vec4<f32> {
  var part = vec4<f32>(0.0);
#for I 4
  if (4u * i4 + ${I}u < ${E}u) {
    part[${I}] = v(at + 4u * i4 + ${I}u);
  }
#end
  return part;
}
#end

// Of a row of the block.
fn q_part(row: u32, i4: u32) -> vec4<f32> {
  let at = shared_rows[row].x;
  let here = q_four(at, i4);
#if ROTARY
  if (4u * i4 < ${R}u) {
    return turned(here, q_four(at, partner_of(i4)), shared_angles[row], i4);
  }
#end
  return here;
}

// The score of a key, for a row as row_of gives it. -inf in a mask hides.
fn score_of(product: f32, row: vec4<u32>, number: u32) -> f32 {
  if (number < row.z || number >= row.w) {
    return HIDDEN;
  }
  var score = product * params.scale;
#if SOFTCAP
  score = params.softcap * tanh(clamp(score / params.softcap, -15.0, 15.0));
#end
#if MASK
  let add = mask(row.y + number * params.mask_key);
  if (bitcast<u32>(add) == 0xff800000u) {
    return HIDDEN;
  }
  score += add;
#end
  return max(score, LEAST);
}
