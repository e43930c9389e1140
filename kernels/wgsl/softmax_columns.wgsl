// softmax_columns.wgsl - softmax, or its logarithm (LOG), of dense x [outer, n, inner] along n
// where inner > 1: an invocation does a column, neighbours neighbouring ones.
struct Params {
  columns: u32, // outer * inner
  n: u32,
  inner: u32,
  x: u32,
  y: u32,
}

#include special

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let column = (workgroup.y * groups.x + workgroup.x) * ${WORKGROUP}u + lane;
  if (column >= params.columns) { return; }
  let at = column / params.inner * params.n * params.inner + column % params.inner;
  let row_x = params.x + at;
  var largest = x(row_x);
  for (var i = 1u; i < params.n; i++) { largest = max(largest, x(row_x + i * params.inner)); }
  var sum = 0.0;
  for (var i = 0u; i < params.n; i++) { sum += exp_special(x(row_x + i * params.inner) - largest); }
#if LOG
  let log_sum = log_special(sum);
#end
  for (var i = 0u; i < params.n; i++) {
    let v = x(row_x + i * params.inner) - largest;
#if LOG
    y_store(params.y + at + i * params.inner, v - log_sum);
#else
    y_store(params.y + at + i * params.inner, exp_special(v) / sum);
#end
  }
}
