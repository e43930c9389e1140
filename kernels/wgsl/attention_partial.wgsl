// attention_partial.wgsl - where attention_decode leaves the results of parts of the keys for
// attention_join: [batch, group, row][part][E4 + 1] in fours, of which the last has the largest
// score and the total of weights.

fn partial_start(batch: u32, group: u32, row: u32, part: u32) -> u32 {
  let rows = params.queries * params.heads;
  return (((batch * params.groups + group) * rows + row) * params.parts + part) * (E4 + 1u);
}

#if SPLIT
fn store_partial(place: Place, row: u32, part: u32, i4: u32, sum: vec4<f32>, largest: f32,
    total: f32) {
  let start = partial_start(place.batch, place.group, row, part);
  partial4_store(start + i4, bitcast<vec4<u32>>(sum));
  if (i4 == 0u) {
    partial4_store(start + E4, bitcast<vec4<u32>>(vec4<f32>(largest, total, 0.0, 0.0)));
  }
}
#end
