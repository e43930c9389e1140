// attention_common.wgsl - what the forms of attention share: parameters, which keys a query sees,
// weights and results. Arrays: q [B,H,S,D], k [B,G,T,D], v [B,G,T,E], out [B,H,S,E] or [B,S,H,E];
// each by its strides, with dense rows. Strides and starts are in elements.
//
// D4, E4: D and E in fours. ALIGNED: D, E, all strides and starts are multiples of 4.
// A group's heads share keys and values. Their rows of q are numbered query by query: row r is
// query r / shared of the group's head r % shared. A workgroup has ROWS of them.
//
// WGSL promises nothing about infinities, so scores stay finite: what is not seen has the score
// HIDDEN, and what is seen at least LEAST.

struct Params {
  q_at: u32, q_batch: u32, q_head: u32, q_row: u32,
  k_at: u32, k_batch: u32, k_group: u32, k_row: u32,
  v_at: u32, v_batch: u32, v_group: u32, v_row: u32,
  out_at: u32, out_batch: u32, out_head: u32, out_row: u32,
  mask_at: u32, mask_batch: u32, mask_head: u32, mask_row: u32,
  mask_key: u32, lengths_at: u32, lengths_batch: u32, sink_at: u32,
  queries: u32, keys: u32, groups: u32, heads: u32, // heads: of a group
  scale: f32, softcap: f32, window: i32, causal: u32,
  items: u32, row_blocks: u32, // workgroups; blocks of rows of a group
  parts: u32, part_keys: u32, // keys are cut into parts
  sink_head: u32,
#if ROTARY
  cosines_at: u32, sines_at: u32, positions_at: u32,
  // of positions, or in rows of the angles, where there are no positions
  token_batch: u32, token_token: u32, table: u32,
#end
#if APPEND
  added_k_at: u32, added_k_batch: u32, added_k_group: u32, added_k_row: u32,
  added_v_at: u32, added_v_batch: u32, added_v_group: u32, added_v_row: u32,
  past_rows: u32, rows: u32, // of the caches, before and after
  slots: u32, is_all: u32, // rows of a head to be written; the new ones are all that there are
#end
}

const D4 = (${D}u + 3u) / 4u;
const E4 = (${E}u + 3u) / 4u;
const HIDDEN = -3.4e38;
const LEAST = -3.3e38;

// ---- rows ---------------------------------------------------------------------------------------

// Where a workgroup works.
struct Place {
  batch: u32,
  group: u32,
  row: u32, // the first one
  rows: u32, // of the group
  length: u32, // keys
}

fn length_of(batch: u32) -> u32 {
#if LENGTHS
  return u32(clamp(lengths(params.lengths_at + batch * params.lengths_batch), 0, i32(params.keys)));
#else
  return params.keys;
#end
}

fn place_of(item: u32) -> Place {
  let group = item / params.row_blocks;
  let batch = group / params.groups;
  return Place(batch, group % params.groups, (item % params.row_blocks) * ${ROWS}u,
    params.queries * params.heads, length_of(batch));
}

// Keys [x, y) are seen by a query.
fn seen_by(query: u32, length: u32) -> vec2<u32> {
  let before = select(i32(length) - i32(params.queries), 0, params.queries == params.keys);
  let position = before + i32(query);
  let first = select(0, max(position - params.window + 1, 0), params.window > 0);
  let end = select(i32(length), clamp(position + 1, 0, i32(length)), params.causal != 0u);
  return vec2<u32>(u32(first), u32(end));
}

// Keys [x, y) are seen by some row of the block: positions grow with the query.
fn seen_by_any(place: Place) -> vec2<u32> {
  let last = min(place.row + ${ROWS}u, place.rows) - 1u;
  return vec2<u32>(seen_by(place.row / params.heads, place.length).x,
    seen_by(last / params.heads, place.length).y);
}

// Of the row: where its q and its mask start, and the keys that it sees. Rows past the last one see
// nothing.
fn row_of(place: Place, number: u32) -> vec4<u32> {
  let row = min(number, place.rows - 1u);
  let query = row / params.heads;
  let head = place.group * params.heads + row % params.heads;
  let seen = select(vec2<u32>(0u), seen_by(query, place.length), number == row);
  return vec4<u32>(
    params.q_at + place.batch * params.q_batch + head * params.q_head + query * params.q_row,
    params.mask_at + place.batch * params.mask_batch + head * params.mask_head +
      query * params.mask_row,
    seen);
}

// ---- weights ------------------------------------------------------------------------------------

// e^(score - largest), 0 for what is hidden. Not denormal, which is slow on processors.
fn weight_of(score: f32, largest: f32) -> f32 {
  return select(0.0, exp(max(score - largest, -87.0)), score > -3.35e38);
}
fn weights_of(scores: vec4<f32>, largest: f32) -> vec4<f32> {
  return select(vec4<f32>(0.0), exp(max(scores - largest, vec4<f32>(-87.0))),
    scores > vec4<f32>(-3.35e38));
}
