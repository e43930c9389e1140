// matmul_batch.wgsl - included inside main where `batch` is known: where its matrices start.
  var a_base = params.a_start;
#if ROUNDED == 1
  a_base += batch * params.m * params.a_row;
#end
#if BITS
  var b_base = 0u;
#else
  var b_base = params.b_start;
#end
#for j EXTRAS
  var e${j}_base = params.e${j}_start;
#end
#if BATCHES
  var batch_rest = batch;
#for i BATCHES
  let batch_at${i} = batch_rest % params.batch${i};
  batch_rest = batch_rest / params.batch${i};
#if ROUNDED == 1
#else
  a_base += batch_at${i} * params.batch${i}_a;
#end
  b_base += batch_at${i} * params.batch${i}_b;
#for j EXTRAS
  e${j}_base += batch_at${i} * params.batch${i}_e${j};
#end
#end
#end
