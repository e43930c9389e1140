// special.wgsl - functions that keep NaN and infinities, which WGSL's own may lose: SwiftShader's
// log makes 89 of a NaN and -88 of 0. They are told by their bits.
fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
// A call is no constant expression, in which infinities are errors.
fn number(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}
// exp(x) of x <= 0, infinity or NaN
fn exp_special(x: f32) -> f32 {
  return select(exp(clamp(x, -104.0, 0.0)), x, is_nan(x) || x > 0.0);
}
// Subnormal numbers, which a GPU may flush, count as 0.
fn log_special(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (bits == 0x7f800000u) { return x; }
  if ((bits & 0x7f800000u) == 0u) { return number(0xff800000u); }
  return select(log(x), number(0x7fc00000u), bits > 0x7f800000u); // negative, or NaN
}
