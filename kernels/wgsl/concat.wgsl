// concat.wgsl - y is strided x0, x1, ... one behind the other along dimension AXIS; number 0 is the
// innermost. An invocation does four neighbours of the dense y. KEEP: some elements of y are the
// work of others and stay. EACH: the four may lie in different rows.
struct Params {
  groups: u32, // of four
  y: u32,      // the first of them in y
  begin: u32,  // of x0 along AXIS in y
#for D OUTER
  extent${D}: u32,
#end
#for K INPUTS
  end${K}: u32,   // of x${K} along AXIS in y
  first${K}: u32, // where the element for coordinates of 0 in y would lie
#for D RANK
  stride${K}_${D}: u32,
#end
#end
}

#include coordinates
fn value(at: array<u32, ${RANK}>, element: u32) -> u32 {
  let along = at[${AXIS}];
#if KEEP
  if (along < params.begin) { return y(4u * params.y + element); }
#end
#for K INPUTS
  if (along < params.end${K}) {
    return x${K}(params.first${K}
#for D RANK
      + at[${D}] * params.stride${K}_${D}
#end
      );
  }
#end
#if KEEP
  return y(4u * params.y + element);
#else
  return 0u; // behind the end
#end
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = (workgroup.y * groups.x + workgroup.x) * ${WORKGROUP}u + lane;
  if (group >= params.groups) { return; }
  let i = 4u * group;
#if EACH
  let at1 = coordinates(i + 1u);
  let at2 = coordinates(i + 2u);
  let at3 = coordinates(i + 3u);
#else
  var at1 = coordinates(i);
  var at2 = at1;
  var at3 = at1;
  at1[0] += 1u;
  at2[0] += 2u;
  at3[0] += 3u;
#end
  y4_store(params.y + group, vec4<u32>(value(coordinates(i), i), value(at1, i + 1u),
                                       value(at2, i + 2u), value(at3, i + 3u)));
}
