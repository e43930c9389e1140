// matmul_weights.wgsl - how a packed weight lies: see src/gpu/matmul.h. A quad is four columns.

const PER_WORD = 32u / ${BITS}u;
const PANEL = 8u; // quads

// Where a quad of the matrix that starts at `base` lies; its words along k are PANEL apart.
fn quad_start(base: u32, quad: u32) -> u32 {
  return base + quad / PANEL * params.b_words * PANEL + quad % PANEL;
}

// Word `word` along k of its four columns.
fn quad_words(base: u32, quad: u32, word: u32) -> vec4<u32> {
  return b_raw[quad_start(base, quad) + word * PANEL];
}

#if CODES
const CODE_MASK = ${CODE_MASK}u;

// Of the words of four columns, the codes 4 field ... 4 field + 3 along k, each a byte.
fn field_of(words: vec4<u32>, field: u32) -> vec4<u32> {
  return (words >> vec4<u32>(field * ${BITS}u)) & vec4<u32>(CODE_MASK);
}

// Byte j of each.
fn bytes_of(words: vec4<u32>, j: u32) -> vec4<f32> {
  return vec4<f32>((words >> vec4<u32>(8u * j)) & vec4<u32>(255u));
}

// Where the scales of a quad lie for position k.
fn scale_index(quad: u32, k: u32) -> u32 {
#if BLOCK
  return ((quad / PANEL) * params.b_blocks + k / ${BLOCK}u) * PANEL + quad % PANEL;
#else
  return quad;
#end
}

fn scale_of(index: u32) -> vec4<f32> {
  return scales4(params.scale_start + index);
}

fn zero_of(index: u32) -> vec4<f32> {
#if ZEROS
  return vec4<f32>(zeros4(params.zero_start + index));
#else
  return vec4<f32>(${ZERO}.0);
#end
}
#end

#if BITS == 16
// The number `half` (0 or 1) of each column's word.
fn half_of(words: vec4<u32>, half: u32) -> vec4<f32> {
#if BFLOAT
  return bitcast<vec4<f32>>(select(words << vec4<u32>(16u), words & vec4<u32>(0xffff0000u),
                                   half == 1u));
#else
  return vec4<f32>(unpack2x16float(words.x)[half], unpack2x16float(words.y)[half],
                   unpack2x16float(words.z)[half], unpack2x16float(words.w)[half]);
#end
}
#end
