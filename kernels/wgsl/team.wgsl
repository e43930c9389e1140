// team.wgsl - rows and the lanes that share them: WORKGROUP invocations are teams of TEAM lanes, a
// row each. Folds over a team's lanes; every fold in a kernel has a slot of its own, of SLOTS.
// BIG: teams of more than 16 lanes. SUBGROUPS: TEAM is WORKGROUP.
const TEAM = ${TEAM}u;
const WORKGROUP = ${WORKGROUP}u;
#include special

var<workgroup> team_parts: array<f32, ${SLOTS}u * WORKGROUP>;
#if SUBGROUPS
var<private> subgroup_lane: u32;
var<private> subgroup_lanes: u32;
#else
#if BIG
var<workgroup> team_sums: array<f32, ${SLOTS}u * WORKGROUP / 16u>;
#end
#end

// What a fold makes of two. With SPREAD a NaN stays the largest and the smallest, which WGSL's own
// functions do not promise.
const SUM = 0u;
const MAX = 1u;
const MIN = 2u;
const PRODUCT = 3u;
fn team_join(a: f32, b: f32, fold: u32) -> f32 {
  if (fold == SUM) { return a + b; }
  if (fold == PRODUCT) { return a * b; }
#if SPREAD
  if (is_nan(a)) { return a; }
  return select(b, a, select((a < b), (a > b), fold == MAX));
#else
  return select(min(a, b), max(a, b), fold == MAX);
#end
}
#if SUBGROUPS
fn subgroup_fold(v: f32, fold: u32) -> f32 {
  if (fold == SUM) { return subgroupAdd(v); }
  if (fold == PRODUCT) { return subgroupMul(v); }
  var r = 0.0;
  if (fold == MAX) { r = subgroupMax(v); } else { r = subgroupMin(v); }
#if SPREAD
  r = select(r, subgroupAdd(v), subgroupAny(is_nan(v))); // the sum is a NaN too
#end
  return r;
}
#end
fn team_fold(v: f32, lane: u32, slot: u32, fold: u32) -> f32 {
#if SUBGROUPS
  let part = subgroup_fold(v, fold);
  if (subgroup_lane == 0u) { team_parts[slot * WORKGROUP + lane / subgroup_lanes] = part; }
  workgroupBarrier();
  var r = team_parts[slot * WORKGROUP];
  for (var i = 1u; i < (WORKGROUP + subgroup_lanes - 1u) / subgroup_lanes; i++) {
    r = team_join(r, team_parts[slot * WORKGROUP + i], fold);
  }
#else
  let first = slot * WORKGROUP + lane / TEAM * TEAM;
  team_parts[slot * WORKGROUP + lane] = v;
  workgroupBarrier();
#if BIG
  let own = lane % TEAM;
  if (own < TEAM / 16u) {
    var part = team_parts[first + own];
    for (var i = 1u; i < 16u; i++) {
      part = team_join(part, team_parts[first + own + i * (TEAM / 16u)], fold);
    }
    team_sums[first / 16u + own] = part;
  }
  workgroupBarrier();
  var r = team_sums[first / 16u];
  for (var i = 1u; i < TEAM / 16u; i++) { r = team_join(r, team_sums[first / 16u + i], fold); }
#else
  var r = team_parts[first];
  for (var i = 1u; i < TEAM; i++) { r = team_join(r, team_parts[first + i], fold); }
#end
#end
  return r;
}
fn team_sum(v: f32, lane: u32, slot: u32) -> f32 {
  return team_fold(v, lane, slot, SUM);
}
fn team_max(v: f32, lane: u32, slot: u32) -> f32 {
  return team_fold(v, lane, slot, MAX);
}

// What a lane reads at once: four elements (VEC) or one.
#if VEC
alias Unit = vec4<f32>;
fn unit_sum(v: Unit) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}
fn unit_max(v: Unit) -> f32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}
#else
alias Unit = f32;
fn unit_sum(v: Unit) -> f32 {
  return v;
}
fn unit_max(v: Unit) -> f32 {
  return v;
}
#end
