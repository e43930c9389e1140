/* matmul_variants.c - the variants of the kernels of matrix products, and a guess which is fastest
 * where nothing has been measured. The figures of the guess are for a large GPU. */
#include "gpu/matmul.h"

/* ---- tiles ----------------------------------------------------------------------------------- */

/* kind, wx, wy, rows, quads, tile_k, strip */
static const weft_matmul_variant tiles[] = {
    {WEFT_MATMUL_TILES, 8, 8, 4, 1, 16, 64, .splits = 1},   /* 32 x 32 */
    {WEFT_MATMUL_TILES, 8, 8, 4, 2, 16, 64, .splits = 1},   /* 32 x 64 */
    {WEFT_MATMUL_TILES, 16, 16, 4, 1, 16, 64, .splits = 1}, /* 64 x 64 */
    {WEFT_MATMUL_TILES, 16, 16, 4, 1, 32, 8, .splits = 1, .swizzle = true},
    {WEFT_MATMUL_TILES, 16, 8, 8, 1, 16, 64, .splits = 1},
    {WEFT_MATMUL_TILES, 8, 8, 8, 2, 16, 64, .splits = 1},
    {WEFT_MATMUL_TILES, 8, 8, 8, 2, 32, 8, .splits = 1, .swizzle = true},
    {WEFT_MATMUL_TILES, 16, 16, 8, 1, 16, 8, .splits = 1}, /* 128 x 64 */
    {WEFT_MATMUL_TILES, 16, 16, 8, 2, 8, 8, .splits = 1},  /* 128 x 128 */
    {WEFT_MATMUL_TILES, 16, 16, 8, 2, 16, 8, .splits = 1, .swizzle = true},
    {WEFT_MATMUL_TILES, 8, 8, 8, 4, 16, 8, .splits = 1}, /* 64 x 128 */
    /* For a CPU that plays GPU: */
    {WEFT_MATMUL_TILES, 4, 4, 16, 4, 16, 8, .splits = 1},  /* 64 x 64 */
    {WEFT_MATMUL_TILES, 8, 8, 16, 4, 8, 8, .splits = 1},   /* 128 x 128 */
    {WEFT_MATMUL_TILES, 16, 4, 4, 1, 32, 64, .splits = 1}, /* 16 x 64 */
    {WEFT_MATMUL_TILES, 16, 4, 2, 1, 32, 64, .splits = 1}, /* 8 x 64 */
    {WEFT_MATMUL_TILES, 16, 4, 2, 1, 32, 64, .splits = 4},
    {WEFT_MATMUL_TILES, 16, 4, 4, 1, 32, 64, .splits = 4},
    {WEFT_MATMUL_TILES, 8, 8, 4, 1, 16, 64, .splits = 4},
};

/* vec4s of sums that a lane of a GPU has room for. On a CPU they are in its cache, which is quicker
 * than gathering from workgroup memory. */
#define REGISTERS_MAX 32

/* Of workgroup memory: sums of the products and of squares, the rounded rows. */
static uint64_t vector_bytes(const weft_matmul_shape *shape, uint32_t threads) {
  uint64_t sums = (shape->paired ? 32u : 16u) + (shape->norm ? 4u : 0u);
  return threads * shape->m * sums + shape->row_bytes;
}

/* Of TILES and VECTOR. */
static bool fits(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                 const weft_matmul_variant *v) {
  if (v->rows * v->quads > REGISTERS_MAX && !facts->is_software) return false;
  uint32_t threads = (uint32_t)v->wx * v->wy;
  if (threads > facts->workgroup_invocations || v->wx > facts->workgroup_size[0] ||
      v->wy > facts->workgroup_size[1])
    return false;
  if (v->subgroups && (!facts->subgroups || threads % facts->subgroup_max != 0)) return false;
  if (v->f16 && (!facts->f16 || !shape->f16)) return false;
  if (v->swizzle && facts->no_swizzle) return false;
  if (v->kind == WEFT_MATMUL_VECTOR)
    return (v->splits == 1 || !(shape->norm || shape->paired)) &&
           vector_bytes(shape, threads) <= facts->workgroup_storage;
  uint32_t numbers = (uint32_t)v->wy * v->rows + 4u * v->wx * v->quads;
  if (numbers * v->tile_k * (v->f16 ? 2u : 4u) > facts->workgroup_storage) return false;
  if (shape->bits && v->tile_k % (32 / shape->bits) != 0) return false;
  if (shape->rounded && (v->f16 || 32 % v->tile_k != 0 || shape->block % v->tile_k != 0))
    return false;
  if (v->splits == 1) return true;
  uint64_t parts = shape->m * shape->n * shape->batches * v->splits * sizeof(float);
  return shape->k >= 64u * v->splits && parts <= facts->binding_bytes;
}

/* a / b, rounded up. */
static double up(uint64_t a, uint64_t b) {
  uint64_t quotient = (a + b - 1) / b;
  return (double)quotient;
}

/* What the guess takes a GPU for: lanes that run at once, roughly, and vec4s of sums that one of
 * them holds at full speed. From what the makers say of their middling GPUs, not measured; the last
 * is for all others. */
static const struct {
  const char *vendor;
  double lanes;
  uint32_t sums;
} makers[] = {
    {"apple", 8192, 16},   {"intel", 4096, 16}, /* in laptops: some hundred units of eight lanes */
    {"nvidia", 32768, 32}, {"qualcomm", 2048, 8}, /* in phones: large tiles spill, and leave most
                                                     lanes idle */
    {"arm", 2048, 8},      {"img-tec", 2048, 8},  {"", 16384, 32},
};

static uint32_t maker_of(const weft_gpu_facts *facts) {
  uint32_t i = 0;
  while (*makers[i].vendor && strcmp(makers[i].vendor, facts->vendor) != 0) i++;
  return i;
}

static double lanes_of(const weft_gpu_facts *facts) {
  return facts->is_software ? 64 : makers[maker_of(facts)].lanes;
}

#define LEFT_OUT 1e6

/* Steps of a lane, were there enough of them; more where there are not. */
static double tile_cost(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                        const weft_matmul_variant *v) {
  double threads = (double)v->wx * v->wy, rows = v->rows, quads = v->quads;
  double groups = up(shape->m, (uint64_t)v->wy * v->rows) *
                  up(shape->n, 4u * (uint64_t)v->wx * v->quads) * (double)shape->batches *
                  v->splits;
  /* Sums, what is read of workgroup memory for them, and its filling, by vec4. */
  double step = rows * quads + (rows / 4 + quads);
  step += (v->wy * rows / 4 + v->wx * quads) * 2 / threads;
  double lane = step * (double)shape->k / v->splits;
  double waves = groups * threads / lanes_of(facts);
  double cost = lane * (waves > 1 ? waves : 1);
  if ((!v->swizzle && facts->no_linear) || facts->no_tiles) cost *= LEFT_OUT;
  if (rows * quads > makers[maker_of(facts)].sums) cost *= 2; /* and takes long to compile */
  return v->splits > 1 ? cost + 600 : cost;
}

/* ---- lanes that hand A round ----------------------------------------------------------------- */

/* kind, wx, wy, rows, quads, tile_k, strip */
static const weft_matmul_variant handed[] = {
    {WEFT_MATMUL_LANES, 16, 1, 8, 1, 1, 64, .splits = 1},
    {WEFT_MATMUL_LANES, 16, 1, 8, 2, 1, 64, .splits = 1},
    {WEFT_MATMUL_LANES, 16, 1, 16, 1, 1, 64, .splits = 1},
    {WEFT_MATMUL_LANES, 16, 1, 16, 2, 1, 64, .splits = 1},
    {WEFT_MATMUL_LANES, 64, 1, 8, 1, 1, 64, .splits = 1}, /* subgroups of 32 and 64 */
    {WEFT_MATMUL_LANES, 64, 1, 16, 1, 1, 64, .splits = 1},
};

static bool fits_lanes(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                       const weft_matmul_variant *v) {
  uint32_t size = weft_gpu_lanes(facts);
  if (!facts->subgroups || !size || v->wx % size != 0 || shape->rounded || facts->no_linear)
    return false;
  return v->rows % (size < v->rows ? size : v->rows) == 0;
}

/* On a CPU the small ones come first, which are a tenth slower and compile in half the time; and
 * few rows come this way too: a gemv's barriers make a CPU's compiler take ten times as long. */
static double lanes_cost(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                         const weft_matmul_variant *v) {
  double size = (double)v->rows * v->quads;
  return weft_gpu_cpu_lanes(facts) ? size : size * up(shape->m, v->rows) * (double)shape->n * 1000;
}

/* ---- subgroup matrices ----------------------------------------------------------------------- */

/* kind, wx, wy, rows, quads, tile_k, strip */
static const weft_matmul_variant matrices[] = {
    {WEFT_MATMUL_MATRIX, 2, 2, 2, 2, 32, 8, .splits = 1},
    {WEFT_MATMUL_MATRIX, 2, 2, 4, 2, 32, 8, .splits = 1},
    {WEFT_MATMUL_MATRIX, 2, 1, 1, 2, 32, 64, .splits = 1},
};

static bool fits_matrix(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                        const weft_matmul_variant *v) {
  const weft_gpu_matrix *matrix = &facts->matrices[v->matrix];
  bool half = matrix->component == WEFT_F16;
  uint32_t lanes = weft_gpu_lanes(facts), subgroups = (uint32_t)v->wx * v->wy;
  if (!lanes || subgroups * lanes > facts->workgroup_invocations || shape->rounded) return false;
  if (matrix->result != WEFT_F32 || matrix->n % 4 != 0 || v->tile_k % matrix->k != 0) return false;
  if (half ? !shape->f16 || !facts->f16 : matrix->component != WEFT_F32) return false;
  uint32_t numbers = v->wy * v->rows * matrix->m + v->wx * v->quads * matrix->n;
  uint32_t staged = subgroups * matrix->m * matrix->n * 4;
  return numbers * v->tile_k * (half ? 2 : 4) + staged <= facts->workgroup_storage;
}

static double matrix_cost(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                          const weft_matmul_variant *v) {
  const weft_gpu_matrix *matrix = &facts->matrices[v->matrix];
  double groups = up(shape->m, (uint64_t)v->wy * v->rows * matrix->m) *
                  up(shape->n, (uint64_t)v->wx * v->quads * matrix->n) * (double)shape->batches;
  double waves = groups * v->wx * v->wy * weft_gpu_lanes(facts) / lanes_of(facts);
  /* Four times as fast as lanes by themselves, loading included. */
  double sums = (double)v->rows * v->quads * matrix->m * matrix->n / weft_gpu_lanes(facts);
  return sums / 16 * (double)shape->k * (waves > 1 ? waves : 1);
}

/* ---- few rows -------------------------------------------------------------------------------- */

static const weft_matmul_variant vectors[] = {
    {WEFT_MATMUL_VECTOR, 8, 16, .splits = 1},
    {WEFT_MATMUL_VECTOR, 8, 8, .splits = 1},
    {WEFT_MATMUL_VECTOR, 8, 32, .splits = 1},
    {WEFT_MATMUL_VECTOR, 4, 16, .splits = 1},
    {WEFT_MATMUL_VECTOR, 4, 32, .splits = 1},
    {WEFT_MATMUL_VECTOR, 16, 8, .splits = 1},
    {WEFT_MATMUL_VECTOR, 32, 4, .splits = 1},
    {WEFT_MATMUL_VECTOR, 32, 8, .splits = 1},
    {WEFT_MATMUL_VECTOR, 64, 1, .splits = 1},
    {WEFT_MATMUL_VECTOR, 8, 16, .splits = 4},
    {WEFT_MATMUL_VECTOR, 32, 8, .splits = 4},
    {WEFT_MATMUL_VECTOR, 8, 16, .splits = 1, .subgroups = true},
    {WEFT_MATMUL_VECTOR, 8, 32, .splits = 1, .subgroups = true},
    {WEFT_MATMUL_VECTOR, 4, 32, .splits = 1, .subgroups = true},
    {WEFT_MATMUL_VECTOR, 16, 16, .splits = 1, .subgroups = true},
};

uint32_t weft_matmul_unit(uint32_t bits, uint32_t block) {
  if (bits >= 16) return bits == 16 ? 8 : 4;
  uint32_t unit = bits == 8 ? 16 : 32;
  return block % unit == 0 ? unit : 16;
}

static double vector_cost(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                          const weft_matmul_variant *v) {
  uint32_t unit = weft_matmul_unit(shape->bits, shape->block);
  double groups = up(shape->n, 4u * (uint64_t)v->wx) * (double)shape->batches * v->splits;
  double units =
      up(up(shape->k, unit) > 0 ? (uint64_t)up(shape->k, unit) : 1, (uint64_t)v->wy * v->splits);
  double waves = groups * v->wx * v->wy / lanes_of(facts);
  double meeting = v->subgroups ? 4 : 4 + 2.0 * (31 - __builtin_clz(v->wy));
  double lane = units * unit + meeting * 4;
  if (v->wx < WEFT_GPU_PANEL) lane *= 1.2;
  return lane * (waves > 1 ? waves : 1) + (v->splits > 1 ? 600 : 0);
}

/* ---- all ------------------------------------------------------------------------------------- */

typedef struct ranking {
  const weft_gpu_facts *facts;
  const weft_matmul_shape *shape;
  weft_matmul_variant *out;
  double costs[WEFT_MATMUL_VARIANTS_MAX];
  uint32_t count;
} ranking;

static void add(ranking *rank, const weft_matmul_variant *v, double cost) {
  bool (*fit)(const weft_gpu_facts *, const weft_matmul_shape *, const weft_matmul_variant *) =
      v->kind == WEFT_MATMUL_MATRIX  ? fits_matrix
      : v->kind == WEFT_MATMUL_LANES ? fits_lanes
                                     : fits;
  if (rank->count == WEFT_MATMUL_VARIANTS_MAX || !fit(rank->facts, rank->shape, v)) return;
  uint32_t at = rank->count++;
  for (; at > 0 && rank->costs[at - 1] > cost; at--) {
    rank->costs[at] = rank->costs[at - 1];
    rank->out[at] = rank->out[at - 1];
  }
  rank->costs[at] = cost;
  rank->out[at] = *v;
}

uint32_t weft_matmul_variants(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                              weft_matmul_variant out[WEFT_MATMUL_VARIANTS_MAX]) {
  ranking rank = {.facts = facts, .shape = shape, .out = out};
  if (shape->bits && shape->m <= WEFT_MATMUL_FEW_ROWS) {
    for (uint32_t i = 0; i < 2 && weft_gpu_cpu_lanes(facts); i++) {
      weft_matmul_variant v = handed[i];
      v.rows = (uint8_t)shape->m;
      add(&rank, &v, lanes_cost(facts, shape, &v));
    }
    for (uint32_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
      add(&rank, &vectors[i], vector_cost(facts, shape, &vectors[i]));
    return rank.count;
  }
  for (uint32_t i = 0; i < sizeof handed / sizeof *handed; i++)
    add(&rank, &handed[i], lanes_cost(facts, shape, &handed[i]));
  for (uint32_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
    double cost = tile_cost(facts, shape, &tiles[i]);
    add(&rank, &tiles[i], cost);
    weft_matmul_variant narrow = tiles[i];
    narrow.f16 = true;
    if (narrow.splits == 1) add(&rank, &narrow, cost * 0.9);
  }
  uint32_t shapes = facts->matrix_syntax == WEFT_GPU_MATRIX_NONE ? 0 : facts->matrix_count;
  for (uint32_t c = 0; c < shapes && weft_gpu_lanes(facts); c++)
    for (uint32_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
      weft_matmul_variant v = matrices[i];
      v.matrix = (uint8_t)c;
      add(&rank, &v, matrix_cost(facts, shape, &v));
    }
  while (facts->no_linear && out[0].swizzle && !out[rank.count - 1].swizzle) rank.count--;
  return rank.count;
}
