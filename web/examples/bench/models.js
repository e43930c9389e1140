// models.js - the models that the page measures, made on the spot with random weights: chains of
// products, a language model of the Llama kind, an encoder of the shape of MiniLM. How long they
// take does not depend on what their weights say.
import { model } from "./onnx.js";

const BLOCK = 32; // codes that share a scale
const EPSILON = 1e-6;
const MASKED = -3.4e38; // added to the scores of masked positions

/** Numbers of [-1, 1), the same ones for the same seed (xorshift). */
export function randomNumbers(length, seed) {
  const numbers = new Float32Array(length);
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    numbers[i] = state / 2 ** 31;
  }
  return numbers;
}

/** As f16, rounded to the nearest: scaled by 2^-112, an f32 has the exponent bits of an f16. */
export function toHalves(numbers) {
  const words = new Uint32Array(numbers.map((number) => number * 2 ** -112).buffer);
  const round = (word) => ((word & 0x7fffffff) + 0xfff + ((word >>> 13) & 1)) >>> 13;
  return Uint16Array.from(words, (word) => ((word >>> 16) & 0x8000) | round(word));
}

const asType = (type, numbers) => (type === "float16" ? toHalves(numbers) : numbers);

/** A weight [k, n] whose products keep the spread of what they are multiplied with. */
export function randomMatrix(k, n, seed) {
  const scale = Math.sqrt(3 / k);
  return randomNumbers(k * n, seed).map((number) => number * scale);
}

/**
 * A weight [k, n] as MatMulNBits has it: codes u8 [n, blocks, 32], which count from 128, and scales
 * [n, blocks]. k is a multiple of 32.
 */
export function toCodes(matrix, k, n) {
  const codes = new Uint8Array(k * n);
  const scales = new Float32Array((k * n) / BLOCK);
  for (let column = 0; column < n; column++)
    for (let from = 0; from < k; from += BLOCK) {
      let largest = 0;
      for (let i = from; i < from + BLOCK; i++)
        largest = Math.max(largest, Math.abs(matrix[i * n + column]));
      const to = column * k + from;
      scales[to / BLOCK] = largest / 127;
      for (let i = 0; i < BLOCK; i++)
        codes[to + i] = 128 + Math.round((matrix[(from + i) * n + column] / largest) * 127);
    }
  return { codes, scales };
}

/** A graph under construction: add(...) answers the name of what the node computes. */
class Graph {
  #made = 0;
  #constants = new Map();
  inputs = [];
  outputs = [];
  nodes = [];
  weights = [];

  /** `type`: of the floats. */
  constructor(type) {
    this.type = type;
  }

  input(name, dims, type = this.type) {
    this.inputs.push([name, type, dims]);
    return name;
  }
  output(name, dims, type = this.type) {
    this.outputs.push([name, type, dims]);
  }
  add(op, inputs, attributes = {}, outputs = [`${op}_${this.#made++}`]) {
    this.nodes.push([op, inputs, outputs, attributes]);
    return outputs[0];
  }
  weight(dims, data, type = this.type) {
    const name = `weight_${this.weights.length}`;
    this.weights.push([name, type, dims, data]);
    return name;
  }
  floats(dims, numbers) {
    return this.weight(dims, asType(this.type, numbers));
  }
  /** Random numbers around `middle`. */
  random(dims, scale, middle = 0) {
    const numbers = randomNumbers(
      dims.reduce((a, b) => a * b),
      this.weights.length,
    );
    return this.floats(
      dims,
      numbers.map((number) => middle + scale * number),
    );
  }
  /** One weight for equal ones. */
  #constant(key, make) {
    if (!this.#constants.has(key)) this.#constants.set(key, make());
    return this.#constants.get(key);
  }
  number(value) {
    return this.#constant(value, () => this.floats([], Float32Array.of(value)));
  }
  ints(...values) {
    const data = () => BigInt64Array.from(values, BigInt);
    return this.#constant(`[${values}]`, () => this.weight([values.length], data(), "int64"));
  }
  int(value) {
    const data = () => BigInt64Array.of(BigInt(value));
    return this.#constant(`${value}n`, () => this.weight([], data(), "int64"));
  }

  /** x [.., k] by a random weight [k, n]. */
  product(x, k, n, { seed = this.weights.length, outputs } = {}) {
    const weight = this.floats([k, n], randomMatrix(k, n, seed));
    return this.add("MatMul", [x, weight], {}, outputs);
  }
  /** The same with the weight as codes of 8 bits. */
  codeProduct(x, k, n, { seed = this.weights.length, outputs } = {}) {
    const { codes, scales } = toCodes(randomMatrix(k, n, seed), k, n);
    const blocks = k / BLOCK;
    const weight = this.weight([n, blocks, BLOCK], codes, "uint8");
    // Level 4: rows of x may be rounded to 8 bits.
    const attributes = { K: k, N: n, bits: 8, block_size: BLOCK, accuracy_level: 4 };
    const inputs = [x, weight, this.floats([n, blocks], scales)];
    return this.add("com.microsoft.MatMulNBits", inputs, attributes, outputs);
  }

  bytes() {
    return model(this);
  }
}

/**
 * y = x w0 w1 ..., with x [rows, widths[0]] and wi [widths[i], widths[i + 1]], the random matrix i.
 * `weights`: "f32", "f16" (then x and y are f16, too) or "int8".
 */
export function productChain(weights, rows, widths) {
  const graph = new Graph(weights === "f16" ? "float16" : "float32");
  const product = weights === "int8" ? "codeProduct" : "product";
  let x = graph.input("x", [rows, widths[0]]);
  for (let i = 0; i + 1 < widths.length; i++) {
    const outputs = [i + 2 === widths.length ? "y" : `y_${i}`];
    x = graph[product](x, widths[i], widths[i + 1], { seed: i, outputs });
  }
  graph.output("y", [rows, widths.at(-1)]);
  return graph.bytes();
}

// ---- the decoder --------------------------------------------------------------------------------

const GQA = "com.microsoft.GroupQueryAttention";
const SKIP_NORM = "com.microsoft.SkipSimplifiedLayerNormalization";

/** Cosines and sines, each [positions, size / 2]. */
function rotaryTables(graph, positions, size) {
  const half = size / 2;
  const angle = (i) => Math.floor(i / half) * 10000 ** (-(i % half) / half);
  return [Math.cos, Math.sin].map((wave) =>
    graph.floats(
      [positions, half],
      Float32Array.from({ length: positions * half }, (_, i) => wave(angle(i))),
    ),
  );
}

/** From the mask [batch, total]: tokens of each row less one, and the total, as i32. */
function sequenceLengths(graph, mask) {
  const INT32 = 6;
  const sum = graph.add("ReduceSum", [mask, graph.ints(1)], { keepdims: 0 });
  const counts = graph.add("Cast", [graph.add("Sub", [sum, graph.ints(1)])], { to: INT32 });
  const total = graph.add("Gather", [graph.add("Shape", [mask]), graph.int(1)], { axis: 0 });
  return [counts, graph.add("Cast", [total], { to: INT32 })];
}

/**
 * A language model as the builder of onnxruntime-genai writes it: input_ids, attention_mask and
 * past_key_values.* to logits and present.*. `sizes`: {layers, width, heads, kvHeads, headSize,
 * inner, vocabulary, positions}. type: "float32" or "float16". `sequence`: tokens that are read at
 * once. The batch is 1.
 */
export function decoder(type, sizes, sequence) {
  const { layers, width, heads, kvHeads, headSize, inner, vocabulary, positions } = sizes;
  const graph = new Graph(type);
  const ids = graph.input("input_ids", [1, sequence], "int64");
  const mask = graph.input("attention_mask", [1, "total"], "int64");
  const lengths = sequenceLengths(graph, mask);
  const tables = rotaryTables(graph, positions, headSize);
  const scale = () => graph.random([width], 0.2, 1);
  /** [norm of a + b, a + b] */
  const addAndNorm = (a, b, i) => {
    const outputs = [`norm_${i}`, "", "", `sum_${i}`];
    graph.add(SKIP_NORM, [a, b, scale()], { epsilon: EPSILON }, outputs);
    return [outputs[0], outputs[3]];
  };

  let residual = graph.add("Gather", [graph.random([vocabulary, width], 1.7), ids]);
  let x = graph.add("SimplifiedLayerNormalization", [residual, scale()], {
    axis: -1,
    epsilon: EPSILON,
  });
  for (let layer = 0; layer < layers; layer++) {
    const qkv = graph.product(x, width, (heads + 2 * kvHeads) * headSize);
    const caches = ["key", "value"].map((part) => `${layer}.${part}`);
    const past = caches.map((name) =>
      graph.input(`past_key_values.${name}`, [1, kvHeads, "past", headSize]),
    );
    const present = caches.map((name) => `present.${name}`);
    const attended = graph.add(
      GQA,
      [qkv, "", "", ...past, ...lengths, ...tables],
      { num_heads: heads, kv_num_heads: kvHeads, scale: headSize ** -0.5, do_rotary: 1 },
      [`attended_${layer}`, ...present],
    );
    for (const name of present) graph.output(name, [1, kvHeads, "total", headSize]);
    [x, residual] = addAndNorm(
      residual,
      graph.product(attended, heads * headSize, width),
      2 * layer,
    );
    const gate = graph.product(x, width, inner);
    const active = graph.add("Mul", [gate, graph.add("Sigmoid", [gate])]);
    const fed = graph.add("Mul", [active, graph.product(x, width, inner)]);
    [x, residual] = addAndNorm(residual, graph.product(fed, inner, width), 2 * layer + 1);
  }
  graph.product(x, width, vocabulary, { outputs: ["logits"] });
  graph.output("logits", [1, sequence, vocabulary]);
  return graph.bytes();
}

// ---- the encoder --------------------------------------------------------------------------------

/** [batch, sequence, width] with a bias and of `n` columns. */
const linear = (graph, x, k, n) =>
  graph.add("Add", [graph.product(x, k, n), graph.random([n], 0.1)]);

function layerNorm(graph, x, width, outputs) {
  const inputs = [x, graph.random([width], 0.2, 1), graph.random([width], 0.2)];
  return graph.add("LayerNormalization", inputs, { axis: -1, epsilon: 1e-12 }, outputs);
}

function gelu(graph, x) {
  const erf = graph.add("Erf", [graph.add("Div", [x, graph.number(Math.SQRT2)])]);
  const product = graph.add("Mul", [x, graph.add("Add", [erf, graph.number(1)])]);
  return graph.add("Mul", [product, graph.number(0.5)]);
}

function attention(graph, x, mask, { width, heads }) {
  const size = width / heads;
  const split = (perm) => {
    const rows = linear(graph, x, width, width);
    const parts = graph.add("Reshape", [rows, graph.ints(0, 0, heads, size)]);
    return graph.add("Transpose", [parts], { perm });
  };
  const [query, key, value] = [
    [0, 2, 1, 3],
    [0, 2, 3, 1],
    [0, 2, 1, 3],
  ].map(split);
  const scores = graph.add("MatMul", [query, key]);
  const scaled = graph.add("Div", [scores, graph.number(Math.sqrt(size))]);
  const shares = graph.add("Softmax", [graph.add("Add", [scaled, mask])], { axis: -1 });
  const context = graph.add("MatMul", [shares, value]);
  const joined = graph.add("Transpose", [context], { perm: [0, 2, 1, 3] });
  const rows = graph.add("Reshape", [joined, graph.ints(0, 0, width)]);
  return linear(graph, rows, width, width);
}

/**
 * An encoder of the BERT kind in f32, with the inputs and the output of MiniLM. `sizes`: {layers,
 * width, heads, inner, vocabulary, positions, tokens: of each text}.
 */
export function encoder({ layers, width, heads, inner, vocabulary, positions, tokens }) {
  const FLOAT = 1;
  const graph = new Graph("float32");
  const dims = ["batch", tokens];
  const ids = graph.input("input_ids", dims, "int64");
  const given = graph.input("attention_mask", dims, "int64");
  const types = graph.input("token_type_ids", dims, "int64");
  const hidden = graph.add("Sub", [graph.number(1), graph.add("Cast", [given], { to: FLOAT })]);
  const wide = graph.add("Unsqueeze", [hidden, graph.ints(1, 2)]);
  const mask = graph.add("Mul", [wide, graph.number(MASKED)]);

  const embed = (rows, indices) => graph.add("Gather", [graph.random([rows, width], 1), indices]);
  const length = graph.add("Gather", [graph.add("Shape", [ids]), graph.ints(1)], { axis: 0 });
  const table = graph.random([1, positions, width], 1);
  const ends = [graph.ints(0), length, graph.ints(1)];
  let x = graph.add("Add", [embed(vocabulary, ids), embed(2, types)]);
  x = graph.add("Add", [x, graph.add("Slice", [table, ...ends])]);
  x = layerNorm(graph, x, width);
  for (let layer = 0; layer < layers; layer++) {
    const last = layer === layers - 1;
    x = graph.add("Add", [attention(graph, x, mask, { width, heads }), x]);
    x = layerNorm(graph, x, width);
    const up = gelu(graph, linear(graph, x, width, inner));
    x = graph.add("Add", [linear(graph, up, inner, width), x]);
    x = layerNorm(graph, x, width, last ? ["last_hidden_state"] : undefined);
  }
  graph.output("last_hidden_state", [...dims, width]);
  return graph.bytes();
}
