// matmul_rows.wgsl - rows of floats rounded to 8 bits for products with codes: a block of a row to
// an invocation.

struct Params {
  m: u32, k: u32,
  items: u32,           // blocks of all rows
  blocks: u32,          // of a row
  a_start: u32, a_row: u32,
  codes: u32, scales: u32, // where they go in `rounded`
#for i BATCHES
  batch${i}: u32, batch${i}_a: u32,
#end
}

fn load(start: u32, k: u32) -> vec4<f32> {
#if A_VEC4
  if (k < params.k) { return a4((start + k) / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
#for j 4
  if (k + ${j}u < params.k) { v[${j}] = a(start + k + ${j}u); }
#end
  return v;
#end
}

fn put_code(at: u32, codes: u32) {
  rounded_raw[params.codes + at] = codes;
}

#include matmul_round

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let item = (group.y * groups.x + group.x) * 64u + index;
  if (item >= params.items) { return; }
  let row = item / params.blocks;
  let k0 = item % params.blocks * ${ROUND_BLOCK}u;
  var start = params.a_start + row % params.m * params.a_row;
  var batch = row / params.m;
#for i BATCHES
  start += batch % params.batch${i} * params.batch${i}_a;
  batch = batch / params.batch${i};
#end
  rounded_raw[params.scales + item] =
      round_block(start, k0, (row * params.blocks * ${ROUND_BLOCK}u + k0) / 4u);
}
