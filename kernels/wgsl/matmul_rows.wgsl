// matmul_rows.wgsl - rows of floats rounded to 8 bits for products with codes: an invocation rounds
// ROUND_BLOCK numbers of a row, by their largest. As kernels/reference/codes.c does it.

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

// A block whose largest number is below this counts as zeros.
const LEAST = 0x1p-119f;

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
  var largest = 0u; // |x| as bits, which are ordered as the numbers are
  for (var i = 0u; i < ${ROUND_BLOCK}u; i += 4u) {
    let size = bitcast<vec4<u32>>(load(start, k0 + i)) & vec4<u32>(0x7fffffffu);
    largest = max(max(largest, max(size.x, size.y)), max(size.z, size.w));
  }
  // Infinities and NaN make the block's products NaN.
  let finite = largest < 0x7f800000u;
  let most = bitcast<f32>(largest);
  var scale = 0u;
  var factor = 0.0;
  if (finite && most >= LEAST) {
    scale = bitcast<u32>(most / 127.0);
    factor = 127.0 / most;
  }
  if (!finite) { scale = 0x7fc00000u; }
  rounded_raw[params.scales + item] = scale;
  let to = params.codes + (row * params.blocks * ${ROUND_BLOCK}u + k0) / 4u;
  for (var i = 0u; i < ${ROUND_BLOCK}u; i += 4u) {
    var codes = vec4<u32>();
    if (finite) {
      codes = bitcast<vec4<u32>>(vec4<i32>(round(load(start, k0 + i) * factor))) &
              vec4<u32>(255u);
    }
    rounded_raw[to + i / 4u] = codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
  }
}
