// measure.mjs - how the benchmarks take time: contenders take turns in one process, and a claim is
// the median of their ratios round by round.

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

const WARM_UP = 3;
const ROUNDS_MIN = 5;

/**
 * Times each of the works in turn, after a warm-up, until `seconds` for each are used up. Each call
 * does its work `burst` times; times are of one.
 */
export async function takeTurns(works, seconds, burst = 1) {
  const names = Object.keys(works);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  const end = performance.now() + seconds * 1000 * names.length;
  for (let round = -WARM_UP; round < ROUNDS_MIN || performance.now() < end; round++) {
    for (const name of names) {
      const start = performance.now();
      await works[name]();
      if (round >= 0) times[name].push((performance.now() - start) / burst);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summary(times[name])]));
}

/** `times` in ms, by round. */
export function summary(times) {
  return { median_ms: median(times), min_ms: Math.min(...times), rounds: times.length, times };
}

/** How many times faster `a` is than `b`. */
export const speedup = (a, b) => median(a.times.map((time, i) => b.times[i] / time));
