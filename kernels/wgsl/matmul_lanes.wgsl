// matmul_lanes.wgsl - y = expression(a b, ...) without workgroup memory and barriers, and with
// little text: for GPUs that are CPUs, which compile slowly and read a buffer as fast as workgroup
// memory. A lane has ROWS rows and QUADS quads (4 columns each), WX apart; a workgroup is WX lanes,
// all with the same rows, whose elements of A the lanes of a subgroup read together and hand round:
// GROUPS times PER rows. B as in matmul.wgsl.

#include matmul_params
#include matmul_epilogue
#if BITS
#include matmul_weights
#end
#include matmul_sources

const WX = ${WX}u;
const TILE_M = ${ROWS}u;
const TILE_Q = ${WX}u * ${QUADS}u;

@compute @workgroup_size(${WX}) ${SUBGROUP_SIZE_ATTRIBUTE}
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_id) local: vec3<u32>,
        @builtin(subgroup_invocation_id) lane: u32) {
#include matmul_tile
#include matmul_batch
#for g GROUPS
  let a_at${g} = a_base +
      min(row0 + ${g}u * ${PER}u + lane % ${PER}u, params.m - 1u) * params.a_row;
#end
#for q QUADS
  let own${q} = min(quad0 + local.x + ${q}u * WX, (params.n + 3u) / 4u - 1u);
#if BITS
  let b_at${q} = quad_start(b_base, own${q});
#end
#end
#for r ROWS
#for q QUADS
  var sum${r}_${q} = vec4<f32>();
#end
#end
  // UNIT positions along k at a time: those of a word of B, or of the vec4s of its columns.
  for (var k0 = k_begin; k0 < k_end; k0 += ${UNIT}u) {
#for q QUADS
#if BITS
    let words${q} = b_raw[b_at${q} + k0 / PER_WORD * PANEL];
#else
#if TRANSPOSED
#for c 4
    let line${q}_${c} = load_b(b_base, k0, own${q} * 4u + ${c}u, k_end);
#end
#end
#end
#if CODES
    let place${q} = scale_index(own${q}, k0);
    let scale${q} = scale_of(place${q});
    let zero${q} = zero_of(place${q});
#end
#end
#if CODES
    // In a loop, so that there is one text for all; the code of step s: field s / 4 of byte s % 4.
    for (var step = 0u; step < ${UNIT}u; step += 1u) {
      let shift = vec4<u32>(step / 4u * ${BITS}u + step % 4u * 8u);
#end
#for s STEPS
    {
#if CODES
#else
      const step = ${s}u;
#end
#for g GROUPS
#if UNIT == 1
      let a${g} = a(a_at${g} + k0);
#else
      let a${g} = select(0.0, a(a_at${g} + min(k0 + step, k_end - 1u)), k0 + step < k_end);
#end
#end
#for q QUADS
#if CODES
      let code${q} = (words${q} >> shift) & vec4<u32>((1u << ${BITS}u) - 1u);
      let b${q} = (vec4<f32>(vec4<i32>(code${q})) - zero${q}) * scale${q};
#end
#if BITS == 16
      let b${q} = half_of(words${q}, step);
#end
#if BITS == 32
      let b${q} = bitcast<vec4<f32>>(words${q});
#end
#if BITS
#else
#if TRANSPOSED
      let b${q} = vec4<f32>(line${q}_0[step], line${q}_1[step], line${q}_2[step],
                            line${q}_3[step]);
#else
      let b${q} = load_b(b_base, k0, own${q} * 4u, k_end);
#end
#end
#end
#for r ROWS
      let x${r} = subgroupBroadcast(a${r/PER}, ${r%PER}u);
#for q QUADS
      sum${r}_${q} += x${r} * b${q};
#end
#end
    }
#end
#if CODES
    }
#end
  }
#include matmul_write
}
