// matmul_params.wgsl - the parameters of the kernels of matrix products (src/gpu/matmul.c writes
// them in this order), and where a workgroup's share lies.
//
// Batches are counted in up to BATCHES dimensions, the innermost first. EXTRAS inputs of the
// expression are read at start + row * _row + column * _column.

struct Params {
  m: u32, n: u32, k: u32,
  items: u32,           // workgroups
  a_start: u32, a_row: u32,
  y_start: u32,
#if SPLITS
  split_k: u32,         // of k in a split
#end
#if NORM
  norm_start: u32,      // of its weights, in vec4s
  epsilon: f32,
#end
#if ROUNDED == 1
  a_scales: u32, a_blocks: u32, // of the rows of codes: where; how many along k
#end
#if BITS
  b_words: u32,         // along k
#if CODES
  b_blocks: u32,        // scales along k
  scale_start: u32,     // in quads
#if ZEROS
  zero_start: u32,
#end
#end
#else
  b_start: u32,
  b_row: u32,           // from row to row, or where transposed from column to column
#end
#for j EXTRAS
  e${j}_start: u32, e${j}_row: u32, e${j}_column: u32,
#end
#for i BATCHES
  batch${i}: u32, batch${i}_a: u32, batch${i}_b: u32,
#for j EXTRAS
  batch${i}_e${j}: u32,
#end
#end
}
