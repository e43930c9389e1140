// rotary.wgsl - rotary embedding: an invocation turns one element of y [B,H,S,D] (dense), or the
// two of a word where y is f16. The first R elements of a row are turned in pairs (i, i + R / 2),
// or with INTERLEAVED (2 i, 2 i + 1); the others stay. x is read by its strides.

struct Params {
  x_at: u32, x_batch: u32, x_head: u32, x_token: u32,
  x_size: u32, cosines_at: u32, sines_at: u32, positions_at: u32,
  // of positions, or in rows of the angles, where there are no positions
  token_batch: u32, token_token: u32, table: u32, heads: u32,
  tokens: u32, y_at: u32, elements: u32, items: u32, // items: invocations
}

fn turned(flat: u32) -> f32 {
  let i = flat % ${D}u;
  let row = flat / ${D}u;
  let token = row % params.tokens;
  let head = row / params.tokens % params.heads;
  let batch = row / params.tokens / params.heads;
  let start = params.x_at + batch * params.x_batch + head * params.x_head + token * params.x_token;
  let here = x(start + i * params.x_size);
  if (i >= ${R}u) {
    return here;
  }
  var angles = batch * params.token_batch + token * params.token_token;
#if POSITIONS
  angles = u32(clamp(positions(params.positions_at + angles), 0, i32(params.table) - 1));
#end
#if INTERLEAVED
  let pair = i / 2u;
  let is_second = i % 2u == 1u;
  let partner = i ^ 1u;
#else
  let is_second = i >= ${R}u / 2u;
  let pair = select(i, i - ${R}u / 2u, is_second);
  let partner = select(i + ${R}u / 2u, pair, is_second);
#end
  let there = x(start + partner * params.x_size);
  let at = angles * (${R}u / 2u) + pair;
  let cosine = cosines(params.cosines_at + at);
  let sine = sines(params.sines_at + at);
  return here * cosine + select(-there, there, is_second) * sine;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
  let item = (id.y * count.x + id.x) * 64u + thread;
  if (item >= params.items) {
    return;
  }
#if F16
  let pair = vec2<f32>(turned(2u * item), turned(min(2u * item + 1u, params.elements - 1u)));
  y_raw[(params.y_at >> 1u) + item] = pack_f16(pair);
#else
  y_store(params.y_at + item, turned(item));
#end
}
