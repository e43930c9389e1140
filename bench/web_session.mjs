// web_session.mjs - a session of weft-web or onnxruntime-web as the benchmarks use it, in Node and
// in pages.
//
// Inputs: { name: [type, dims, fill] }, type "f32" or "i64"; fill: a number, "wave" (sines) or
// "ids" (varied numbers from 1000 to 20999).

const size = (dims) => dims.reduce((a, b) => a * b, 1);

/** The same numbers as fill() of native.py. */
function makeTensor(Tensor, [type, dims, fill]) {
  const length = size(dims);
  if (type === "i64") {
    const of = fill === "ids" ? (i) => 1000n + ((BigInt(i) * 7919n) % 20000n) : () => BigInt(fill);
    return new Tensor(
      "int64",
      BigInt64Array.from({ length }, (_, i) => of(i)),
      dims,
    );
  }
  const of = fill === "wave" ? (i) => Math.sin(i) : () => fill;
  return new Tensor(
    "float32",
    Float32Array.from({ length }, (_, i) => of(i)),
    dims,
  );
}

export class WebSession {
  constructor(session, Tensor) {
    this.session = session;
    this.Tensor = Tensor;
  }

  feed(inputs) {
    this.feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => [name, makeTensor(this.Tensor, input)]),
    );
  }

  async run(times = 1) {
    for (let i = 0; i < times; i++) {
      for (const output of Object.values(this.outputs ?? {})) dropFromGpu(output);
      this.outputs = await this.session.run(this.feeds);
    }
  }

  /** So many tokens, one after the other: caches that come out go in again. */
  async decode(tokens) {
    for (let i = 0; i < tokens; i++) {
      this.outputs = await this.session.run(this.feeds);
      for (const name of Object.keys(this.outputs)) {
        if (!name.startsWith("present")) continue;
        const past = name.replace("present", "past_key_values");
        dropFromGpu(this.feeds[past]);
        this.feeds[past] = this.outputs[name];
      }
      const { dims } = this.feeds.attention_mask;
      const longer = ["i64", [1, dims[1] + 1], 1];
      this.feeds.attention_mask = makeTensor(this.Tensor, longer);
    }
    this.outputs = undefined; // they are the feeds of the next token
  }

  async answer() {
    await this.run();
    return Object.values(this.outputs)[0].data;
  }

  release() {
    return this.session.release();
  }
}

/** Tensors on the GPU are nobody's garbage. */
function dropFromGpu(tensor) {
  if (tensor.location === "gpu-buffer") tensor.dispose();
}
