// gather.wgsl - elements of dense data [outer, extent, inner] chosen by dense indices. Negative
// ones count from the end; one that is outside is taken as the nearest inside (the CPU fails).
//
// Without ELEMENTS y is [outer, indices, inner]; a unit is four elements (VEC) or one. With
// ELEMENTS y has the indices' shape, and RANK strides say where its elements lie in data, number 0
// the innermost; PARTS words make an element. An invocation does four elements of y.
struct Params {
  groups: u32,
  extent: u32,
  data: u32, // first unit
  indices: u32,
  y: u32,    // first group of four
#if ELEMENTS
  axis_stride: u32,
#for D OUTER
  extent${D}: u32,
#end
#for D RANK
  stride${D}: u32,
#end
#else
  count: u32, // indices
  inner: u32, // units
#end
}

fn chosen(at: u32) -> u32 {
  let index = indices(params.indices + at);
  let extent = i32(params.extent);
  return u32(clamp(select(index, index + extent, index < 0), 0, extent - 1));
}
fn place(unit: u32) -> u32 {
#if ELEMENTS
  var at = params.data + chosen(unit / ${PARTS}u) * params.axis_stride;
  var left = unit;
#for D OUTER
  at += left % params.extent${D} * params.stride${D};
  left = left / params.extent${D};
#end
  return at + left * params.stride${OUTER};
#else
  let row = unit / params.inner;
  let slab = row / params.count * params.extent + chosen(row % params.count);
  return params.data + slab * params.inner + unit % params.inner;
#end
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = (workgroup.y * groups.x + workgroup.x) * ${WORKGROUP}u + lane;
  if (group >= params.groups) { return; }
#if VEC
  y4_store(params.y + group, data4(place(group)));
#else
  let i = 4u * group;
  y4_store(params.y + group,
           vec4(data(place(i)), data(place(i + 1u)), data(place(i + 2u)), data(place(i + 3u))));
#end
}
