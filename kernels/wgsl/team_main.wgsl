// team_main.wgsl - the beginning of a kernel of teams (team.wgsl). `wanted` is the row of the
// lane's team, which may lie past the last one: all lanes are needed at barriers.
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
#if SUBGROUPS
        @builtin(subgroup_invocation_id) own_lane: u32, @builtin(subgroup_size) lanes: u32,
#end
        @builtin(local_invocation_index) lane: u32) {
#if SUBGROUPS
  subgroup_lane = own_lane;
  subgroup_lanes = lanes;
#end
  let wanted = (workgroup.y * groups.x + workgroup.x) * (WORKGROUP / TEAM) + lane / TEAM;
