// map.wgsl - y = expression(x0, x1, ...), element by element: x0 ... are broadcast to y by their
// strides. An invocation does four neighbours of the dense y. Also copies (the expression is x0).
//
// INPUTS; RANK: dimensions, number 0 the innermost; OUTER = RANK - 1; VECk: of input k the four lie
// together, as a group of four; EACH: the four may lie in different rows (the innermost extent is
// no multiple of 4); WORKGROUP.
struct Params {
  groups: u32, // of four
  y: u32,      // the first of them in y
#for D OUTER
  extent${D}: u32,
#end
#for K INPUTS
  first${K}: u32, // element 0 of x${K}
#for D RANK
  stride${K}_${D}: u32, // elements, modulo 2^32
#end
#end
}

#include coordinates
#for K INPUTS
fn place${K}(at: array<u32, ${RANK}>) -> u32 {
  return params.first${K}
#for D RANK
    + at[${D}] * params.stride${K}_${D}
#end
    ;
}
#end

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = (workgroup.y * count.x + workgroup.x) * ${WORKGROUP}u + lane;
  if (group >= params.groups) { return; }
  let at0 = coordinates(4u * group);
#if EACH
  let at1 = coordinates(4u * group + 1u);
  let at2 = coordinates(4u * group + 2u);
  let at3 = coordinates(4u * group + 3u);
#end
#for K INPUTS
  let p${K} = place${K}(at0);
#if EACH
  let v${K} = vec4(x${K}(p${K}), x${K}(place${K}(at1)), x${K}(place${K}(at2)),
                   x${K}(place${K}(at3)));
#else
#if VEC${K}
  let v${K} = x${K}4(p${K} >> 2u);
#else
  let s${K} = params.stride${K}_0;
  let v${K} = vec4(x${K}(p${K}), x${K}(p${K} + s${K}), x${K}(p${K} + 2u * s${K}),
                   x${K}(p${K} + 3u * s${K}));
#end
#end
#end
  y4_store(params.y + group, expression4(
#for K INPUTS
    v${K},
#end
  ));
}
