// matmul_finish.wgsl - adds the parts of a product whose k was shared out (`part`: [PARTS][batch,
// m, n]), then y = expression(product, ...), four elements of y to an invocation, whatever its row.

#include matmul_params

fn product_at(i: u32) -> f32 {
  var product = 0.0;
#for s PARTS
  product += bitcast<f32>(part_raw[params.a_start + ${s}u * params.items + i]);
#end
  return product;
}

#for j EXTRAS
// Where input ${j} has what belongs to element i.
fn place${j}(i: u32) -> u32 {
  let row = i / params.n;
  var place = params.e${j}_start + i % params.n * params.e${j}_column +
              row % params.m * params.e${j}_row;
  var batch = row / params.m;
#for d BATCHES
  place += batch % params.batch${d} * params.batch${d}_e${j};
  batch = batch / params.batch${d};
#end
  return place;
}
#end

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let i = ((group.y * groups.x + group.x) * 64u + index) * 4u;
  if (i >= params.items) { return; }
  let product = vec4<f32>(product_at(i), product_at(i + 1u), product_at(i + 2u),
                          product_at(i + 3u));
#for j EXTRAS
  let values${j} = vec4(e${j}(place${j}(i)), e${j}(place${j}(i + 1u)), e${j}(place${j}(i + 2u)),
                        e${j}(place${j}(i + 3u)));
#end
#include matmul_result
  y4_store((params.y_start + i) / 4u, result);
}
