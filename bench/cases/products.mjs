// products.mjs - single matrix products: f32, 8 bits with dynamic scales, 4-bit blocks.
import { execFileSync } from "node:child_process";
import {
  difference,
  feedAll,
  openAll,
  openWeft,
  releaseAll,
  usual,
  worksOf,
} from "../contenders.mjs";
import { median, perSecond, takeTurns } from "../measure.mjs";

const ROWS = 384;
const DEPTH = 384;
const COLUMNS = 1536;
const FLOPS = 2 * ROWS * DEPTH * COLUMNS;
const NBITS = 2048;

/**
 * One product, run by all. `goals` are ratios to onnxruntime-web, to native onnxruntime and of two
 * threads to one.
 */
async function compare(options, rows, { work, model, inputs, flops, bound, burst = 1, goals }) {
  const { threads, seconds } = options;
  const contenders = await openAll(usual(threads), model, options);
  await feedAll(contenders, inputs);
  const result = { difference: await difference(contenders, bound) };
  const runs = await takeTurns(
    worksOf(contenders, (contender) => contender.run(burst)),
    seconds,
    { burst, warmUp: 20 },
  );
  await releaseAll(contenders);
  const show = perSecond(flops * 1e-9, "GOP/s");
  const name = `${work}, T${threads}`;
  rows.compare(name, runs.weft, runs["ort-web"], show, goals.web);
  rows.compare(`${name}: native onnxruntime`, runs.weft, runs["ort-native"], show, goals.native);
  rows.compare(`${name}: native Weft`, runs["weft-native"], runs["ort-native"], show);
  if (threads > 1)
    rows.compare(`${work}: T${threads} over T1`, runs.weft, runs["weft-1"], show, goals.scaling);
  return { ...result, runs };
}

// ---- f32, and its share of the peak -------------------------------------------------------------

/** ms of the product alone, packing of A included, as the runtime times its steps: the best. */
async function productMs({ session, feeds }) {
  const total = () => session.profile().find((step) => step.op === "matmul").ns;
  let best = Infinity;
  for (let i = 0; i < 20; i++) {
    const before = total();
    await session.run(feeds);
    best = Math.min(best, (total() - before) / 1e6);
  }
  return best;
}

const ROUNDS = 7;

/** The best product against the best of the peak, measured right before and right after. */
async function peakShare(options, tier, inputs) {
  const measurePeak = () => Number(execFileSync(options.peak, { encoding: "utf8" }));
  const contender = await openWeft(options.matmul, { tier, enableProfiling: true });
  contender.feed(inputs);
  await contender.run(50); // until the engine has optimised
  const shares = [];
  const peaks = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = measurePeak();
    const gflops = FLOPS / (await productMs(contender)) / 1e6;
    const peak = Math.max(before, measurePeak());
    shares.push(gflops / peak);
    peaks.push(peak);
  }
  await contender.release();
  return { share: median(shares), peak_gflops: median(peaks) };
}

export async function matmul(options, rows) {
  const inputs = { x: ["f32", [ROWS, DEPTH], "wave"] };
  const result = await compare(options, rows, {
    work: `f32 matmul ${ROWS}x${DEPTH}x${COLUMNS}`,
    model: options.matmul,
    inputs,
    flops: FLOPS,
    bound: 1e-4,
    goals: { scaling: 1.9 },
  });
  if (options.threads > 1) return result;
  result.shares = {};
  for (const tier of ["b", "a"]) {
    const { share, peak_gflops: peak } = (result.shares[tier] = await peakShare(
      options,
      tier,
      inputs,
    ));
    rows.add(
      `the product alone, of the 128-bit FMA peak, tier ${tier.toUpperCase()}`,
      `${(share * peak).toFixed(1)} GFLOP/s`,
      `${peak.toFixed(1)} GFLOP/s`,
      share,
      tier === "b" ? 0.95 : null,
    );
  }
  return result;
}

// ---- quantised ----------------------------------------------------------------------------------

export function dynamic(options, rows) {
  return compare(options, rows, {
    work: `int8 dynamic matmul ${ROWS}x${DEPTH}x${COLUMNS}`,
    model: options.dynamic,
    inputs: { x: ["f32", [ROWS, DEPTH], "wave"] },
    flops: FLOPS,
    bound: 0.03,
    goals: { web: 2, scaling: 1.9 },
  });
}

export async function nbits(options, rows) {
  const result = {};
  for (const [count, goals, burst] of [
    [1, { web: 80, native: 0.8, scaling: 1.9 }, 30],
    [128, { web: 4.5, scaling: 1.9 }, 1],
  ])
    result[count] = await compare(options, rows, {
      work: `4-bit blocks, ${count}x${NBITS}x${NBITS}`,
      model: options.nbits,
      inputs: { x: ["f32", [count, NBITS], "wave"] },
      flops: 2 * count * NBITS * NBITS,
      bound: 0.03,
      burst,
      goals,
    });
  return result;
}
