// matmul_split.wgsl - which batch, and which part of k, item `item` of a kernel has.
#if SPLITS
  let batches = params.items / tiles / ${SPLITS}u;
  let split = item / tiles / batches;
  let batch = item / tiles % batches;
  let k_begin = split * params.split_k;
  let k_end = min(params.k, k_begin + params.split_k);
#else
  let batch = item / tiles;
  let k_begin = 0u;
  let k_end = params.k;
#end
