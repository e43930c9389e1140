// arg_reduce.wgsl - where along n of dense x [outer, n, inner] the largest or smallest element is.
// Elements become keys, unsigned integers in the same order (MAX: ascending, else descending), NaN
// the greatest. A team of TEAM lanes does a part of an output; with several parts y is [parts,
// outputs] of (key, place), which PAIRS reads.
//
// LAST: the last of equals. FLOAT, SIGNED: what x is. WORKGROUP.
struct Params {
  outputs: u32,
  parts: u32,
  n: u32,
  part: u32, // folded into a part
  inner: u32,
  x: u32,
  y: u32,
}
const TEAM = ${TEAM}u;
const WORKGROUP = ${WORKGROUP}u;

var<workgroup> keys: array<u32, WORKGROUP>;
var<workgroup> places: array<u32, WORKGROUP>;

// (key, place) of element i of the row
fn candidate(row: u32, i: u32) -> vec2<u32> {
#if PAIRS
  let at = params.x + 2u * (i * params.outputs + row);
  return vec2<u32>(x_raw[at], x_raw[at + 1u]);
#else
  let v = x(params.x + (row / params.inner * params.n + i) * params.inner + row % params.inner);
#if FLOAT
  let bits = bitcast<u32>(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return vec2<u32>(0xffffffffu, i); }
  let positive = select(bits, 0u, v == 0.0); // -0 is 0
  var key = select(positive | 0x80000000u, ~positive, (positive >> 31u) == 1u);
#else
#if SIGNED
  var key = u32(v) ^ 0x80000000u;
#else
  var key = v;
#end
#end
#if MAX
  return vec2<u32>(key, i);
#else
#if FLOAT
  return vec2<u32>(~key - 1u, i); // below NaN
#else
  return vec2<u32>(~key, i);
#end
#end
#end
}
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
#if LAST
  let wins = a.x > b.x || (a.x == b.x && a.y > b.y);
#else
  let wins = a.x > b.x || (a.x == b.x && a.y < b.y);
#end
  return select(b, a, wins);
}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let wanted = (workgroup.y * groups.x + workgroup.x) * (WORKGROUP / TEAM) + lane / TEAM;
  let item = min(wanted, params.outputs * params.parts - 1u); // all lanes are needed at barriers
  let row = item % params.outputs;
  let begin = item / params.outputs * params.part;
  let end = min(begin + params.part, params.n);
  let own = lane % TEAM;
  var best = candidate(row, min(begin + own, end - 1u));
  for (var i = begin + own + TEAM; i < end; i += TEAM) { best = better(best, candidate(row, i)); }
  keys[lane] = best.x;
  places[lane] = best.y;
  for (var half = TEAM / 2u; half > 0u; half = half / 2u) {
    workgroupBarrier();
    if (own < half) {
      best = better(best, vec2<u32>(keys[lane + half], places[lane + half]));
      keys[lane] = best.x;
      places[lane] = best.y;
    }
  }
  if (own > 0u || wanted >= params.outputs * params.parts) { return; }
#if RESULT
  y_store(params.y + item, i32(best.y));
#else
  y_raw[params.y + 2u * item] = best.x;
  y_raw[params.y + 2u * item + 1u] = best.y;
#end
}
