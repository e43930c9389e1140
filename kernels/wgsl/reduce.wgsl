// reduce.wgsl - folds some dimensions of a strided x. A team of lanes (team.wgsl) does a part of an
// output: teams of 1 where neighbouring outputs lie together. With several parts per output, y is
// [parts, outputs], to be folded once more.
//
// KEPT, FOLDED: how many dimensions, number 0 the innermost; KEPT_OUTER, FOLDED_OUTER: one less.
// OUT4: a lane, a team of 1, does four outputs, of any type.
// FOLD: as in team.wgsl. MAPPING of each element: 0 none, 1 square, 2 absolute, 3 exp(x - largest).
// FINISH: 0 none, 1 over count, 2 square root, 3 logarithm, 4 that plus the largest.
struct Params {
  outputs: u32,
  parts: u32,
  units: u32, // folded into an output
  part: u32,  // folded into a part of it
  x: u32,     // first unit
  y: u32,
  count: f32, // elements folded into an output
#for D KEPT
  kept_extent${D}: u32,
  kept_stride${D}: u32, // units
#end
#for D FOLDED
  folded_extent${D}: u32,
  folded_stride${D}: u32,
#end
}
#include team

fn load(at: u32) -> Unit {
#if VEC
  return x4(at);
#else
  return x(at);
#end
}
fn place(row: u32, folded: u32) -> u32 {
  var at = params.x;
  var left = row;
#for D KEPT_OUTER
  at += left % params.kept_extent${D} * params.kept_stride${D};
  left = left / params.kept_extent${D};
#end
  at += left * params.kept_stride${KEPT_OUTER};
  left = folded;
#for D FOLDED_OUTER
  at += left % params.folded_extent${D} * params.folded_stride${D};
  left = left / params.folded_extent${D};
#end
  return at + left * params.folded_stride${FOLDED_OUTER};
}
fn mapped(v: f32, shift: f32) -> f32 {
#if MAPPING == 1
  return v * v;
#end
#if MAPPING == 2
  return abs(v);
#end
#if MAPPING == 3
  return exp_special(v - shift);
#end
#if MAPPING == 0
  return v;
#end
}
fn unit_mapped(v: Unit, shift: f32) -> f32 {
#if VEC
  return team_join(team_join(mapped(v.x, shift), mapped(v.y, shift), ${FOLD}u),
                   team_join(mapped(v.z, shift), mapped(v.w, shift), ${FOLD}u), ${FOLD}u);
#else
  return mapped(v, shift);
#end
}
fn finished(v: f32, shift: f32) -> f32 {
#if FINISH == 0
  return v;
#end
#if FINISH == 1
  return v / params.count;
#end
#if FINISH == 2
  return sqrt(v);
#end
#if FINISH == 3
  return log_special(v);
#end
#if FINISH == 4
  return log_special(v) + shift;
#end
}
// An infinite one would give NaN.
fn shift_of(largest: f32) -> f32 {
  return select(largest, 0.0, (bitcast<u32>(largest) & 0x7fffffffu) == 0x7f800000u);
}
fn start(fold: u32) -> f32 {
  if (fold == SUM) { return 0.0; }
  if (fold == PRODUCT) { return 1.0; }
  return number(select(0x7f800000u, 0xff800000u, fold == MAX));
}

#if OUT4
fn column(row: u32) -> f32 {
  var shift = 0.0;
#if MAPPING == 3
  var largest = start(MAX);
  for (var i = 0u; i < params.units; i++) {
    largest = team_join(largest, load(place(row, i)), MAX);
  }
  shift = shift_of(largest);
#end
  var r = start(${FOLD}u);
  for (var i = 0u; i < params.units; i++) {
    r = team_join(r, unit_mapped(load(place(row, i)), shift), ${FOLD}u);
  }
  return finished(r, shift);
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = (workgroup.y * groups.x + workgroup.x) * WORKGROUP + lane;
  if (4u * group >= params.outputs) { return; }
  let rows = min(vec4<u32>(0u, 1u, 2u, 3u) + 4u * group, vec4<u32>(params.outputs - 1u));
  y4_store(params.y / 4u + group,
           vec4<f32>(column(rows.x), column(rows.y), column(rows.z), column(rows.w)));
}
#else
#include team_main
  let item = min(wanted, params.outputs * params.parts - 1u); // all lanes are needed at barriers
  let row = item % params.outputs;
  let first = item / params.outputs * params.part + lane % TEAM;
  let end = min(item / params.outputs * params.part + params.part, params.units);
  var shift = 0.0;
#if MAPPING == 3
  var largest = start(MAX);
  for (var i = first; i < end; i += TEAM) {
    largest = team_join(largest, load(place(row, i)), MAX);
  }
  shift = shift_of(team_max(largest, lane, 1u));
#end
  var r = start(${FOLD}u);
  for (var i = first; i < end; i += TEAM) {
    r = team_join(r, unit_mapped(load(place(row, i)), shift), ${FOLD}u);
  }
  r = team_fold(r, lane, 0u, ${FOLD}u);
  if (wanted < params.outputs * params.parts && lane % TEAM == 0u) {
    y_store(params.y + item, finished(r, shift));
  }
}
#end
