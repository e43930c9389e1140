// matmul_rounded.wgsl - rows of A as codes: four i8 to a word, and a scale for each block of
// ROUND_BLOCK. ROUNDED is 1: matmul_rows.wgsl made them; else the kernel itself does.

#if ROUNDED == 1
// Where the result goes to the same scratch, it is bound as `part`.
fn rounded_word(i: u32) -> u32 {
#if SPLITS
  return part_raw[i];
#else
  return a_raw[i];
#end
}

fn rounded_scale(row: u32, k: u32) -> f32 {
  return bitcast<f32>(rounded_word(params.a_scales + row * params.a_blocks +
                                   k / ${ROUND_BLOCK}u));
}
#end

// Codes of 8 bits count from the middle of their range here, so that they are signed too.
#if BITS == 8
const MIDDLE = 128.0;
fn signed_codes(codes: vec4<u32>) -> vec4<u32> {
  return codes ^ vec4<u32>(0x80808080u);
}
#else
const MIDDLE = 0.0;
fn signed_codes(codes: vec4<u32>) -> vec4<u32> {
  return codes;
}
#end

fn dots(a: u32, b: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z),
                   dot4I8Packed(a, b.w));
}

// Sum of four codes.
fn total_of(a: u32) -> i32 {
  return dot4I8Packed(a, 0x01010101u);
}
