// attention_rows.wgsl - new rows for both caches of a layer, before attention of many rows: an
// invocation writes four elements.
#include attention_append

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32) {
  let item = (id.y * count.x + id.x) * 64u + thread;
  if (item >= params.items) {
    return;
  }
  let head = item / (params.slots * FOURS);
  append_four(head / params.groups, head % params.groups, item % (params.slots * FOURS), 0u,
    params.rows);
}
