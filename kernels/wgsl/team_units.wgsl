// team_units.wgsl - reads and writes of what a lane of a team takes at once, of x and y.
fn load(at: u32) -> Unit {
#if VEC
  return x4(at);
#else
  return x(at);
#end
}
fn store(at: u32, v: Unit) {
#if VEC
  y4_store(at, v);
#else
  y_store(at, v);
#end
}
