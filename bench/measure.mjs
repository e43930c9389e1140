// measure.mjs - how the benchmarks take time: contenders take turns in one process, and a claim is
// the median of their ratios round by round.

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

const WARM_UP = 2;
const ROUNDS_MIN = 3;
/**
 * onnxruntime's threads go on spinning for some 20 ms after their work: they must not do so while
 * another one works.
 */
const SPIN_MS = 30;
let pauseMs = 0;
export const pauseFor = (threads) => (pauseMs = threads > 1 ? SPIN_MS : 0);
const pause = () => new Promise((done) => setTimeout(done, pauseMs));

/**
 * Times each of the works in turn until `seconds` for each are used up, after a warm-up of so many
 * rounds, which may take as long again. Each call does its work `burst` times; times are of one. A
 * work may answer the ms that it took by its own clock. One that fails is left out from then on:
 * its entry is { error }.
 */
export async function takeTurns(works, seconds, { burst = 1, warmUp = WARM_UP } = {}) {
  const results = Object.fromEntries(Object.keys(works).map((name) => [name, { times: [] }]));
  const share = seconds * 1000 * Object.keys(works).length;
  let end = performance.now() + share;
  for (let round = -warmUp; round < ROUNDS_MIN || performance.now() < end; round++) {
    if (round < -1 && performance.now() > end) round = -1; // one round of warm-up is left
    if (round === 0) end = performance.now() + share;
    for (const [name, work] of Object.entries(works)) {
      const result = results[name];
      if (result.error) continue;
      await pause();
      const start = performance.now();
      try {
        const own = await work();
        const ms = own ?? performance.now() - start;
        result.first_ms ??= ms / burst;
        if (round >= 0) result.times.push(ms / burst);
      } catch (error) {
        results[name] = { error: String(error?.message ?? error).slice(0, 300) };
      }
    }
    if (Object.values(results).every(({ error }) => error)) break;
  }
  for (const [name, result] of Object.entries(results))
    if (!result.error) Object.assign(result, summary(result.times));
  return results;
}

/** `times` in ms, by round. */
export function summary(times) {
  return { median_ms: median(times), min_ms: Math.min(...times), rounds: times.length, times };
}

/** How many times faster `a` is than `b`; NaN if one of them failed. */
export const speedup = (a, b) =>
  !a?.times || !b?.times ? NaN : median(a.times.map((time, i) => b.times[i] / time));

// ---- rows ---------------------------------------------------------------------------------------

export const ms = ({ median_ms: value }) => `${value.toFixed(value < 100 ? 2 : 0)} ms`;
export const microseconds = ({ min_ms: value }) => `${(value * 1e3).toFixed(0)} us`;
export const perSecond =
  (amount, unit, scale = 1) =>
  ({ median_ms: value }) =>
    `${((amount / value) * 1e3 * scale).toPrecision(3)} ${unit}`;

/** Lines of the table, which `on` hears of one by one. */
export class Rows {
  constructor(on) {
    this.on = on;
  }

  /**
   * `own` and `peer` are texts, `goal` the ratio to reach, or { most: ratio }. A ratio that is NaN
   * does not meet any.
   */
  add(work, own, peer, ratio, goal = null) {
    const met = goal === null ? null : goal.most ? ratio <= goal.most : ratio >= goal;
    this.on({ work, weft: own, peer, ratio, goal: goal?.most ?? goal, met });
    console.error(`${work}: ${own}, ${peer}, ${ratio.toFixed(2)}`);
  }

  /** Two entries of takeTurns, by their speed-up. */
  compare(work, own, peer, show, goal = null) {
    const text = (entry) =>
      entry?.times ? show(entry) : `fails: ${(entry?.error ?? "?").slice(0, 60)}`;
    this.add(work, text(own), text(peer), speedup(own, peer), goal);
  }
}
