// matmul_sources.wgsl - elements of a computed B.

#if BITS
#else
// Four elements of B from (k, n) on: along n, or where TRANSPOSED along k.
fn load_b(base: u32, k: u32, n: u32, k_end: u32) -> vec4<f32> {
#if TRANSPOSED
  let at = base + n * params.b_row + k;
#if B_VEC4
  if (n < params.n && k < k_end) { return b4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (n < params.n) {
#for j 4
    if (k + ${j}u < k_end) { v[${j}] = b(at + ${j}u); }
#end
  }
  return v;
#end
#else
  let at = base + k * params.b_row + n;
#if B_VEC4
  if (n < params.n && k < k_end) { return b4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (k < k_end) {
#for j 4
    if (n + ${j}u < params.n) { v[${j}] = b(at + ${j}u); }
#end
  }
  return v;
#end
#end
}
#end
