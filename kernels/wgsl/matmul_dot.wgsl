// matmul_dot.wgsl - matmul.wgsl for rows of codes (matmul_rows.wgsl) by codes: exact sums of
// products of 8 bits by dot4I8Packed for TILE_K of k, which lie in one block of either side.

#include matmul_params
#include matmul_epilogue
#include matmul_weights
#include matmul_rounded

const WX = ${WX}u;
const THREADS = ${WX}u * ${WY}u;
const TILE_M = ${WY}u * ${ROWS}u;
const TILE_Q = ${WX}u * ${QUADS}u;
const TILE_K = ${TILE_K}u;
const K4 = ${TILE_K}u / 4u;

var<workgroup> tile_a: array<u32, ${WY} * ${ROWS} * ${TILE_K} / 4>;
var<workgroup> tile_b: array<vec4<u32>, ${WX} * ${QUADS} * ${TILE_K} / 4>;

@compute @workgroup_size(${WX}, ${WY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) local: vec3<u32>) {
#include matmul_tile
#include matmul_batch
  let quads = (params.n + 3u) / 4u;
  let index = local.y * WX + local.x;
#for r ROWS
#for q QUADS
  var sum${r}_${q} = vec4<f32>();
#end
#end
  for (var k0 = k_begin; k0 < k_end; k0 += TILE_K) {
    for (var i = index; i < TILE_M * K4; i += THREADS) {
      let row = min(row0 + i / K4, params.m - 1u);
      tile_a[i] = rounded_word(a_base + row * params.a_row + k0 / 4u + i % K4);
    }
    for (var i = index; i < TILE_K / PER_WORD * TILE_Q; i += THREADS) {
      // Past the end the last ones are read again: A is zero there, or nothing is stored.
      let quad = min(quad0 + i % TILE_Q, quads - 1u);
      let word = min(k0 / PER_WORD + i / TILE_Q, params.b_words - 1u);
      let to = i / TILE_Q * ${FIELDS}u * TILE_Q + i % TILE_Q;
      let words = quad_words(b_base, quad, word);
#for f FIELDS
      tile_b[to + ${f}u * TILE_Q] = signed_codes(field_of(words, ${f}u));
#end
    }
    workgroupBarrier();
#for r ROWS
    var total${r} = 0;
#for q QUADS
    var dot${r}_${q} = vec4<i32>();
#end
#end
    for (var k4 = 0u; k4 < K4; k4 += 1u) {
#for q QUADS
      let b${q} = tile_b[k4 * TILE_Q + local.x + ${q}u * WX];
#end
#for r ROWS
      let a${r} = tile_a[(local.y * ${ROWS}u + ${r}u) * K4 + k4];
      total${r} += total_of(a${r});
#for q QUADS
      dot${r}_${q} += dots(a${r}, b${q});
#end
#end
    }
#for r ROWS
    let scale${r} = rounded_scale(batch * params.m +
                                  min(row0 + local.y * ${ROWS}u + ${r}u, params.m - 1u), k0);
#end
#for q QUADS
    {
      let place = scale_index(min(quad0 + local.x + ${q}u * WX, quads - 1u), k0);
      let scale = scale_of(place);
      let zero = zero_of(place) - vec4<f32>(MIDDLE);
#for r ROWS
      sum${r}_${q} += scale${r} * (scale * (vec4<f32>(dot${r}_${q}) - zero * f32(total${r})));
#end
    }
#end
    workgroupBarrier();
  }
#include matmul_write
}
