// dequantize.wgsl - y = (code - zero) * scale, four elements of y to an invocation. Codes of BITS
// bits lie in rows of whole bytes; i32 ones (BITS 32) as they are. Scales, and zeros likewise: one
// (SCALE_SINGLE), one for each step of the axis, or with BLOCK for so many steps of it and each
// position behind the axis. ZEROS: 0 one number, 1 codes, 2 floats.

struct Params {
  count: u32,     // of y
  columns: u32,   // of a row of y
  row_bytes: u32, // of its codes
  start: u32,     // of the codes, in bytes
  extent: u32, inner: u32, blocks: u32, // of the axis: steps; elements in a step; blocks
  scale_start: u32,
  zero_start: u32, // ZEROS 1: in bytes
  zero_last: u32, zero_row_bytes: u32,  // ZEROS 1: codes and bytes in a row
  zero: i32,
  y_start: u32,
}

fn number_of(word: u32, shift: u32) -> i32 {
#if SIGNED
  return extractBits(bitcast<i32>(word), shift, ${BITS}u);
#else
  return bitcast<i32>(extractBits(word, shift, ${BITS}u));
#end
}

fn code(i: u32) -> i32 {
#if BITS == 32
  return bitcast<i32>(codes_raw[params.start / 4u + i]);
#else
  let bit = i % params.columns * ${BITS}u;
  let byte = params.start + i / params.columns * params.row_bytes + bit / 8u;
  return number_of(codes_raw[byte / 4u], byte % 4u * 8u + bit % 8u);
#end
}

// Which scale belongs to element i.
fn place(i: u32) -> u32 {
  let at = i / params.inner;
#if BLOCK
  return (at / params.extent * params.blocks + at % params.extent / ${BLOCK}u) * params.inner +
         i % params.inner;
#else
  return at % params.extent;
#end
}

#if ZEROS
fn zero_place(i: u32) -> u32 {
#if ZERO_SINGLE
  return 0u;
#else
  return place(i);
#end
}
#end

fn difference(i: u32) -> f32 {
#if ZEROS == 0
  return f32(code(i) - params.zero);
#end
#if ZEROS == 1
  let index = zero_place(i);
#if BITS == 32
  return f32(code(i) - bitcast<i32>(zeros_raw[params.zero_start / 4u + index]));
#else
  let bit = index % params.zero_last * ${BITS}u;
  let byte = params.zero_start + index / params.zero_last * params.zero_row_bytes + bit / 8u;
  return f32(code(i) - number_of(zeros_raw[byte / 4u], byte % 4u * 8u + bit % 8u));
#end
#end
#if ZEROS == 2
  return f32(code(i)) - zeros(params.zero_start + zero_place(i));
#end
}

fn result(i: u32) -> f32 {
#if SCALE_SINGLE
  let scale = scales(params.scale_start);
#else
  let scale = scales(params.scale_start + place(i));
#end
  return difference(i) * scale;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let i = ((group.y * groups.x + group.x) * 64u + index) * 4u;
  if (i >= params.count) { return; }
  y4_store((params.y_start + i) / 4u,
           vec4<f32>(result(i), result(i + 1u), result(i + 2u), result(i + 3u)));
}
