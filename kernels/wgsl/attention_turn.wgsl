// attention_turn.wgsl - rotary embedding of rows as they are read, four elements at a time. The
// first R elements are turned in pairs (i, i + R / 2), R a multiple of 8, or with INTERLEAVED
// (2 i, 2 i + 1), R a multiple of 4.

// Where the cosines and sines of a token start in their tables.
fn angles_of(batch: u32, token: u32) -> u32 {
  var row = batch * params.token_batch + token * params.token_token;
#if POSITIONS
  row = u32(clamp(positions(params.positions_at + row), 0, i32(params.table) - 1));
#end
  return row * (${R}u / 2u);
}

// The four that i4 is turned with.
fn partner_of(i4: u32) -> u32 {
#if INTERLEAVED
  return i4;
#else
  return select(i4 + ${R}u / 8u, i4 - ${R}u / 8u, i4 >= ${R}u / 8u);
#end
}

fn turned(here: vec4<f32>, partner: vec4<f32>, angles: u32, i4: u32) -> vec4<f32> {
#if INTERLEAVED
  let c = params.cosines_at + angles + 2u * i4;
  let s = params.sines_at + angles + 2u * i4;
  let cosine = vec2<f32>(cosines(c), cosines(c + 1u));
  let sine = vec2<f32>(sines(s), sines(s + 1u));
  return here * cosine.xxyy + vec4<f32>(-here.y, here.x, -here.w, here.z) * sine.xxyy;
#else
  let first = angles + 4u * (i4 % (${R}u / 8u));
  let c = params.cosines_at + first;
  let s = params.sines_at + first;
  let cosine = vec4<f32>(cosines(c), cosines(c + 1u), cosines(c + 2u), cosines(c + 3u));
  let sine = vec4<f32>(sines(s), sines(s + 1u), sines(s + 2u), sines(s + 3u));
  return here * cosine + select(-partner, partner, i4 >= ${R}u / 8u) * sine;
#end
}
