// bench_products.mjs - products of the bench page's models in plain JavaScript, for the tests.
import { randomMatrix, randomNumbers } from "../../web/examples/bench/models.js";

const [rows, widths] = [8, [64, 96, 64]];

/** a [rows, k] by b [k, n]. */
function multiply(a, b, k, n) {
  const y = new Float64Array((a.length / k) * n);
  for (let i = 0; i < a.length; i++)
    for (let j = 0; j < n; j++) y[Math.floor(i / k) * n + j] += a[i] * b[(i % k) * n + j];
  return y;
}

const x = randomNumbers(rows * widths[0], 77);
const matrices = [0, 1].map((i) => randomMatrix(widths[i], widths[i + 1], i));

/** What productChain(.., rows, widths) makes of x, but for the rounding of weights. */
export const products = {
  rows,
  widths,
  x,
  expected: matrices.reduce((y, b, i) => multiply(y, b, widths[i], widths[i + 1]), x),
};
