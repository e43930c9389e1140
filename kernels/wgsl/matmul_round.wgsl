// matmul_round.wgsl - ROUND_BLOCK numbers of a row as codes of 8 bits, by the largest of them, as
// kernels/reference/codes.c does it. What includes it has load(row, k): four numbers from k on of a
// row; and put_code(at, four codes).

// A block whose largest number is below this counts as zeros.
const LEAST = 0x1p-119f;

// Answers the bits of the block's scale.
fn round_block(row: u32, k0: u32, to: u32) -> u32 {
  var largest = 0u; // |x| as bits, which are ordered as the numbers are
  for (var i = 0u; i < ${ROUND_BLOCK}u; i += 4u) {
    let size = bitcast<vec4<u32>>(load(row, k0 + i)) & vec4<u32>(0x7fffffffu);
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
  for (var i = 0u; i < ${ROUND_BLOCK}u; i += 4u) {
    var codes = vec4<u32>();
    if (finite) {
      codes = bitcast<vec4<u32>>(vec4<i32>(round(load(row, k0 + i) * factor))) &
              vec4<u32>(255u);
    }
    put_code(to + i / 4u, codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u));
  }
  return scale;
}
