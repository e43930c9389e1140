// attention_store.wgsl - finishes rows and writes them.
#include attention_common

// Four elements of a row: sums of weights x values relative to the largest score, over the total of
// the weights and the sink's. Zeros where nothing was seen.
fn finished(sums: vec4<f32>, largest: f32, total: f32, head: u32) -> vec4<f32> {
#if SINK
  let sunk = max(sink(params.sink_at + head * params.sink_head), LEAST);
  let most = max(largest, sunk);
  let factor = weight_of(largest, most);
  return sums * (factor / (total * factor + weight_of(sunk, most)));
#else
  return select(vec4<f32>(0.0), sums * (1.0 / total), total > 0.0);
#end
}

fn store_part(at: u32, i4: u32, value: vec4<f32>) {
#if ALIGNED
  out4_store((at >> 2u) + i4, value);
#else
#if F16
#for I 2
  if (4u * i4 + 2u * ${I}u < ${E}u) {
    out_raw[(at + 4u * i4 + 2u * ${I}u) >> 1u] =
      pack_f16(vec2<f32>(value[2u * ${I}u], value[2u * ${I}u + 1u]));
  }
#end
#else
#for I 4
  if (4u * i4 + ${I}u < ${E}u) {
    out_store(at + 4u * i4 + ${I}u, value[${I}]);
  }
#end
#end
#end
}

// Part i4 of the row's result.
fn store_row(batch: u32, group: u32, row: u32, i4: u32, sums: vec4<f32>, largest: f32,
    total: f32) {
  let head = group * params.heads + row % params.heads;
  let at = params.out_at + batch * params.out_batch + head * params.out_head +
    row / params.heads * params.out_row;
  store_part(at, i4, finished(sums, largest, total, head));
}
