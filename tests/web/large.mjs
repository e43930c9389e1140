// large.mjs - a model whose weights may take many gigabytes, mostly zeros: its external data is a
// sparse file, which takes hardly any room on the disk. A chain of products with a few entries
// each, so that the result is known. For large.test.mjs and browser/large.test.mjs.
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { model } from "./onnx.mjs";

/** With WEFT_LARGE the weights take more than 4 GiB; else megabytes, on the same way. */
export const isLarge = Boolean(process.env.WEFT_LARGE);

/** Eight products and a table of half a gigabyte each. */
export const even = { width: isLarge ? 11264 : 352, layers: 8, columns: isLarge ? 11264 : 352 };
/** One weight of more than 2 GiB. */
export const wide = { width: isLarge ? 11264 : 352, layers: 4, columns: isLarge ? 51200 : 1600 };

/** Entries of a matrix [rows, columns] that are not 0: [row, column, value], small integers. */
function entriesOf([rows, columns]) {
  const [bottom, right] = [rows - 1, columns - 1];
  return [
    [0, 0, 1],
    [0, right, 2],
    [rows >> 1, columns >> 1, -2],
    [bottom, 0, 3],
    [bottom, columns >> 1, 1],
    [bottom, right, 1],
  ];
}

/** The matrices' shapes: a table, then the weights of the products. */
function shapesOf({ width, layers, columns }) {
  const squares = new Array(layers).fill([width, width]);
  return [...squares, [width, columns]];
}

/** What the model computes for the last row of the table: its columns, zeros included. */
export function expected(sizes) {
  const [table, ...weights] = shapesOf(sizes);
  let vector = new Map();
  for (const [row, column, value] of entriesOf(table))
    if (row === table[0] - 1) vector.set(column, value);
  for (const shape of weights) {
    const next = new Map();
    for (const [row, column, value] of entriesOf(shape))
      next.set(column, (next.get(column) ?? 0) + value * (vector.get(row) ?? 0));
    vector = next;
  }
  return Array.from({ length: sizes.columns }, (_, i) => vector.get(i) ?? 0);
}

/** Writes model.onnx and weights.bin to `folder`; answers the bytes of all weights. */
export function write(folder, sizes) {
  mkdirSync(folder, { recursive: true });
  const file = openSync(`${folder}/weights.bin`, "w");
  let [end, weightBytes] = [4096, 0];
  const weights = shapesOf(sizes).map((shape, i) => {
    const offset = end;
    for (const [row, column, value] of entriesOf(shape))
      writeSync(file, new Float32Array([value]), 0, 4, offset + 4 * (row * shape[1] + column));
    const length = 4 * shape[0] * shape[1];
    weightBytes += length;
    end += length + (i === 0 ? 1 << 20 : 512); // gaps: worth a new request, and not
    return [`w${i}`, "float32", shape, { location: "weights.bin", offset, length }];
  });
  ftruncateSync(file, end);
  closeSync(file);
  const products = weights.slice(1).map(([name], i) => ["MatMul", [`h${i}`, name], [`h${i + 1}`]]);
  const bytes = model({
    inputs: [["row", "int64", [1]]],
    outputs: [[`h${products.length}`, "float32", [1, sizes.columns]]],
    nodes: [["Gather", ["w0", "row"], ["h0"]], ...products],
    weights,
  });
  writeFileSync(`${folder}/model.onnx`, bytes);
  return weightBytes;
}
