// coordinates.wgsl - where element `element` of a dense array of RANK dimensions lies, the last
// dimension first: OUTER is RANK - 1.
fn coordinates(element: u32) -> array<u32, ${RANK}> {
  var at: array<u32, ${RANK}>;
  var left = element;
#for D OUTER
  at[${D}] = left % params.extent${D};
  left = left / params.extent${D};
#end
  at[${OUTER}] = left;
  return at;
}
