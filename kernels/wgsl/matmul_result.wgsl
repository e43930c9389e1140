// matmul_result.wgsl - from four products, and what the expression's other inputs have for them, to
// four results.
#if EXPRESSION
  let result = expression4(product
#for j EXTRAS
                           , values${j}
#end
                           );
#else
  let result = product;
#end
