// append.wgsl - rows added to a cache of keys or values, in words of 32 bits whatever their type:
// past [B,H,P,D], added [B,H,N,D], present [B,H,T,D]; each by its strides, with dense rows.
// HALVES: rows of f16 that may start in the middle of a word: past and added are counted in
// elements.
//
// The new rows start at `start`, or at starts[batch]; rows of the present that neither are new nor
// were in the past are zeros. IN_PLACE: the present lies where the past does, so that only the new
// rows are written, and zeros from the end of the past on.

struct Params {
  past_at: u32, past_batch: u32, past_head: u32, past_row: u32,
  added_at: u32, added_batch: u32, added_head: u32, added_row: u32,
  present_at: u32, present_batch: u32, present_head: u32, present_row: u32,
  past_rows: u32, added_rows: u32, rows: u32, words: u32, // words: of a row
  heads: u32, slots: u32, items: u32, start: u32, // slots: rows of a head that are written
#if STARTS4
  starts: array<vec4<u32>, ${STARTS4}>,
#end
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
  let item = (id.y * count.x + id.x) * 64u + thread;
  if (item >= params.items) {
    return;
  }
  let word = item % params.words;
  let line = item / params.words;
  let slot = line % params.slots;
  let head = line / params.slots % params.heads;
  let batch = line / params.slots / params.heads;
#if STARTS4
  let start = params.starts[batch >> 2u][batch & 3u];
#else
  let start = params.start;
#end
#if IN_PLACE
  // The new rows come first, then those behind the past.
  let is_new = slot < params.added_rows;
  let row = select(params.past_rows + slot - params.added_rows, start + slot, is_new);
  if (!is_new && row - start < params.added_rows) {
    return;
  }
#else
  let row = slot;
  let is_new = row - start < params.added_rows; // also false where row < start
#end
  let to = params.present_at + batch * params.present_batch + head * params.present_head +
    row * params.present_row + word;
  if (is_new) {
    let at = params.added_at + batch * params.added_batch + head * params.added_head +
      (row - start) * params.added_row;
#if HALVES
    present_raw[to] = pack_f16(vec2<f32>(added(at + 2u * word), added(at + 2u * word + 1u)));
#else
    present_raw[to] = added_raw[at + word];
#end
    return;
  }
#if IN_PLACE
#else
  if (row < params.past_rows) {
    let at = params.past_at + batch * params.past_batch + head * params.past_head +
      row * params.past_row;
#if HALVES
    present_raw[to] = pack_f16(vec2<f32>(past(at + 2u * word), past(at + 2u * word + 1u)));
#else
    present_raw[to] = past_raw[at + word];
#end
    return;
  }
#end
  present_raw[to] = 0;
}
