// matmul_write.wgsl - included at the end of main: writes the sums. LOOPED: one after the other, so
// that what the expression takes is compiled once; else all of them as they stand in registers.
#if LOOPED
  var sums: array<vec4<f32>, ${ROWS} * ${QUADS}>;
#for r ROWS
#for q QUADS
  sums[${r} * ${QUADS} + ${q}] = sum${r}_${q};
#end
#end
  for (var i = 0u; i < ${ROWS}u * ${QUADS}u; i += 1u) {
    let row = row0 + local.y * ${ROWS}u + i / ${QUADS}u;
    let column = (quad0 + local.x + i % ${QUADS}u * WX) * 4u;
    if (row < params.m && column < params.n) {
#if SPLITS
      write_quad(sums[i], split * batches + batch, row, column);
#else
      write_quad(sums[i], batch, row, column
#for j EXTRAS
                 , e${j}_base
#end
                 );
#end
    }
  }
#else
#for r ROWS
#for q QUADS
  {
    let row = row0 + local.y * ${ROWS}u + ${r}u;
    let column = (quad0 + local.x + ${q}u * WX) * 4u;
    if (row < params.m && column < params.n) {
#if SPLITS
      write_quad(sum${r}_${q}, split * batches + batch, row, column);
#else
      write_quad(sum${r}_${q}, batch, row, column
#for j EXTRAS
                 , e${j}_base
#end
                 );
#end
    }
  }
#end
#end
#end
