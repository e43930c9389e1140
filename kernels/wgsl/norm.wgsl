// norm.wgsl - y = (x - mean) / sqrt(variance + epsilon) * scale + bias over rows; without LAYER the
// mean is 0 (RMS). A team of lanes does a row (team.wgsl); each keeps PER units in registers, or
// the row is read again where PER is 0. Rows of x: dense, `outer` groups of `inner` rows, apart by
// two strides. BIAS.
struct Params {
  rows: u32,
  units: u32, // of a row
  x: u32,     // first unit; strides in units too
  inner: u32,
  inner_stride: u32,
  outer_stride: u32,
  scale: u32,
  bias: u32,
  y: u32,
  count: f32, // elements of a row
  epsilon: f32,
}
#include team
#include team_units

fn finish(v: Unit, factor: f32, i: u32) -> Unit {
#if VEC
  let r = v * factor * scale4(params.scale + i);
#else
  let r = v * factor * scale(params.scale + i);
#end
#if BIAS
#if VEC
  return r + bias4(params.bias + i);
#else
  return r + bias(params.bias + i);
#end
#else
  return r;
#end
}

#include team_main
  let row = min(wanted, params.rows - 1u); // all lanes are needed at barriers
  let own = lane % TEAM;
  let units = params.units;
  let row_x = params.x + row / params.inner * params.outer_stride +
             row % params.inner * params.inner_stride;
  let row_y = params.y + row * units;
  var mean = 0.0;
  var sum = 0.0;
#if PER
#for P PER
  let i${P} = own + ${P}u * TEAM;
  let has${P} = i${P} < units;
  var v${P} = select(Unit(), load(row_x + min(i${P}, units - 1u)), has${P});
#end
#if LAYER
#for P PER
  sum += unit_sum(v${P});
#end
  mean = team_sum(sum, lane, 1u) / params.count;
  sum = 0.0;
#for P PER
  v${P} = select(Unit(), v${P} - mean, has${P});
#end
#end
#for P PER
  sum += unit_sum(v${P} * v${P});
#end
#else
#if LAYER
  for (var i = own; i < units; i += TEAM) { sum += unit_sum(load(row_x + i)); }
  mean = team_sum(sum, lane, 1u) / params.count;
  sum = 0.0;
#end
  for (var i = own; i < units; i += TEAM) {
    let v = load(row_x + i) - mean;
    sum += unit_sum(v * v);
  }
#end
  let factor = inverseSqrt(team_sum(sum, lane, 0u) / params.count + params.epsilon);
  if (wanted >= params.rows) { return; }
#if PER
#for P PER
  if (has${P}) { store(row_y + i${P}, finish(v${P}, factor, i${P})); }
#end
#else
  for (var i = own; i < units; i += TEAM) {
    store(row_y + i, finish(load(row_x + i) - mean, factor, i));
  }
#end
}
