// pack_f16.wgsl - two numbers rounded to f16, in a word. WGSL promises nothing of numbers past the
// largest: SwiftShader's pack2x16float makes NaN of them, and spoils the other half.
fn pack_f16(v: vec2<f32>) -> u32 {
  let bits = bitcast<vec2<u32>>(v);
  let size = bits & vec2<u32>(0x7fffffffu);
  let is_large = size >= vec2<u32>(0x477ff000u); // 65520
  let sign = (bits >> vec2<u32>(16u)) & vec2<u32>(0x8000u);
  let large = select(vec2<u32>(0x7c00u), vec2<u32>(0x7e00u), size > vec2<u32>(0x7f800000u));
  let halves = select(vec2<u32>(), sign | large, is_large);
  return pack2x16float(select(v, vec2<f32>(), is_large)) | halves.x | (halves.y << 16u);
}
