// matmul_epilogue.wgsl - from four sums to four results.

// Columns column ... column + 3 of row `row`. With SPLITS, `batch` counts parts of k and batches.
fn write_quad(product: vec4<f32>,
#if PAIR
              other: vec4<f32>, // of the second product, which is an input of the expression
#end
              batch: u32, row: u32, column: u32
#for j EXTRAS
              , e${j}_base: u32
#end
              ) {
#if SPLITS
  let to = params.y_start + (batch * params.m + row) * params.n + column;
#for c 4
  if (column + ${c}u < params.n) { part_raw[to + ${c}u] = bitcast<u32>(product[${c}]); }
#end
#else
#for j EXTRAS
#if PAIRED${j}
  let values${j} = other;
#else
  let from${j} = e${j}_base + row * params.e${j}_row + column * params.e${j}_column;
  let values${j} = vec4(e${j}(from${j}), e${j}(from${j} + params.e${j}_column),
                        e${j}(from${j} + 2u * params.e${j}_column),
                        e${j}(from${j} + 3u * params.e${j}_column));
#end
#end
#include matmul_result
  let to = params.y_start + (batch * params.m + row) * params.n + column;
#if Y_VEC4
  y4_store(to / 4u, result);
#else
#for c 4
  if (column + ${c}u < params.n) { y_store(to + ${c}u, result[${c}]); }
#end
#end
#end
}
