// attention_join.wgsl - joins the parts that attention_decode left: a thread for four elements of a
// row of the result.
#include attention_store
#include attention_partial

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
  let item = (id.y * count.x + id.x) * 64u + thread;
  if (item >= params.items) {
    return;
  }
  let i4 = item % E4;
  let rows = params.queries * params.heads;
  let group = item / E4 / rows;
  let row = item / E4 % rows;
  let batch = group / params.groups;
  let start = partial_start(batch, group % params.groups, row, 0u);
  var largest = LEAST;
  for (var part = 0u; part < params.parts; part++) {
    largest = max(largest, bitcast<f32>(partial4(start + part * (E4 + 1u) + E4).x));
  }
  var sum = vec4<f32>(0.0);
  var total = 0.0;
  for (var part = 0u; part < params.parts; part++) {
    let at = start + part * (E4 + 1u);
    let of_part = bitcast<vec4<f32>>(partial4(at + E4));
    let factor = weight_of(of_part.x, largest);
    sum += bitcast<vec4<f32>>(partial4(at + i4)) * factor;
    total += of_part.y * factor;
  }
  store_row(batch, group % params.groups, row, i4, sum, largest, total);
}
