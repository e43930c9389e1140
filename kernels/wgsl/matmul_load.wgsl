// matmul_load.wgsl - a tile of A and one of B into workgroup memory, as floats. What includes it
// has store_a(row, k4, v), elements 4 k4 ... of a row of the tile of A, and store_b(i, v): of the
// tile of B, quad i % TILE_Q of row i / TILE_Q.

fn load_a(base: u32, row: u32, k: u32, k_end: u32) -> vec4<f32> {
  let at = base + row * params.a_row + k;
#if A_VEC4
  if (row < params.m && k < k_end) { return a4(at / 4u); }
  return vec4<f32>();
#else
  var v = vec4<f32>();
  if (row < params.m) {
#for j 4
    if (k + ${j}u < k_end) { v[${j}] = a(at + ${j}u); }
#end
  }
  return v;
#end
}

#include matmul_sources

fn load_tiles(index: u32, a_base: u32, b_base: u32, row0: u32, quad0: u32, k0: u32, k_end: u32) {
#if BITS
  let quads = (params.n + 3u) / 4u;
#end
  for (var i = index; i < TILE_M * K4; i += THREADS) {
    let row = i / K4;
    let k4 = i % K4;
    store_a(row, k4, load_a(a_base, row0 + row, k0 + 4u * k4, k_end));
  }
#if BITS
  for (var i = index; i < TILE_K / PER_WORD * TILE_Q; i += THREADS) {
    // Past the end the last ones are read again: A is zero there, or nothing is stored.
    let quad = min(quad0 + i % TILE_Q, quads - 1u);
    let word = min(k0 / PER_WORD + i / TILE_Q, params.b_words - 1u);
    let to = i / TILE_Q * PER_WORD * TILE_Q + i % TILE_Q;
    let words = quad_words(b_base, quad, word);
#if CODES
    let place = scale_index(quad, word * PER_WORD);
    let scale = scale_of(place);
    let zero = zero_of(place);
#for f FIELDS
    let field${f} = field_of(words, ${f}u);
#for j 4
    store_b(to + ${f}u * 4u * TILE_Q + ${j}u * TILE_Q, (bytes_of(field${f}, ${j}u) - zero) * scale);
#end
#end
#end
#if BITS == 16
    store_b(to, half_of(words, 0u));
    store_b(to + TILE_Q, half_of(words, 1u));
#end
#if BITS == 32
    store_b(to, bitcast<vec4<f32>>(words));
#end
  }
#else
#if TRANSPOSED
  for (var i = index; i < K4 * TILE_Q; i += THREADS) {
    let n = (quad0 + i % TILE_Q) * 4u;
    let k = k0 + i / TILE_Q * 4u;
    let to = i / TILE_Q * 4u * TILE_Q + i % TILE_Q;
    let v0 = load_b(b_base, k, n, k_end);
    let v1 = load_b(b_base, k, n + 1u, k_end);
    let v2 = load_b(b_base, k, n + 2u, k_end);
    let v3 = load_b(b_base, k, n + 3u, k_end);
    store_b(to, vec4<f32>(v0.x, v1.x, v2.x, v3.x));
    store_b(to + TILE_Q, vec4<f32>(v0.y, v1.y, v2.y, v3.y));
    store_b(to + 2u * TILE_Q, vec4<f32>(v0.z, v1.z, v2.z, v3.z));
    store_b(to + 3u * TILE_Q, vec4<f32>(v0.w, v1.w, v2.w, v3.w));
  }
#else
  for (var i = index; i < TILE_K * TILE_Q; i += THREADS) {
    store_b(i, load_b(b_base, k0 + i / TILE_Q, (quad0 + i % TILE_Q) * 4u, k_end));
  }
#end
#end
}
