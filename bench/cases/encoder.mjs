// encoder.mjs - MiniLM-L6 in f32 and with 8-bit products, at four shapes of batch x tokens.
import { difference, feedAll, openAll, releaseAll, usual, worksOf } from "../contenders.mjs";
import { ms, takeTurns } from "../measure.mjs";

const SHAPES = ["1x16", "1x128", "8x128", "1x512"];

export const encoderInputs = (batch, tokens) => ({
  input_ids: ["i64", [batch, tokens], "ids"],
  attention_mask: ["i64", [batch, tokens], 1],
  token_type_ids: ["i64", [batch, tokens], 0],
});

/** `goal` is the ratio to onnxruntime-web for a shape. */
async function compare(options, rows, { work, model, names, bound, goal }) {
  const { threads, seconds } = options;
  const contenders = await openAll(names, model, options);
  const result = {};
  for (const shape of SHAPES) {
    const [batch, tokens] = shape.split("x").map(Number);
    await feedAll(contenders, encoderInputs(batch, tokens));
    const apart = await difference(contenders, bound);
    const works = worksOf(contenders, (contender) => contender.run());
    const runs = await takeTurns(works, seconds);
    result[shape] = { difference: apart, runs };
    const name = `${work} ${shape}, T${threads}`;
    rows.compare(name, runs.weft, runs["ort-web"], ms, goal(shape));
    rows.compare(`${name}: native Weft, onnxruntime`, runs["weft-native"], runs["ort-native"], ms);
    if (threads > 1)
      rows.compare(`${work} ${shape}: T${threads} over T1`, runs.weft, runs["weft-1"], ms, 1.9);
    if (runs["weft-a"]) rows.compare(`${name}, tier A`, runs["weft-a"], runs["ort-web"], ms);
  }
  await releaseAll(contenders);
  return result;
}

export function minilm(options, rows) {
  const names = usual(options.threads);
  return compare(options, rows, {
    work: "MiniLM-L6 f32",
    model: options.minilm,
    names: options.threads === 1 ? [...names, "weft-a"] : names,
    bound: 1e-3,
    goal: (shape) => (shape === "1x16" ? 2 : 1.85),
  });
}

export function minilmQ8(options, rows) {
  return compare(options, rows, {
    work: "MiniLM-L6 q8",
    model: options["minilm-q8"],
    names: usual(options.threads),
    bound: 0.5, // single numbers of two roundings to 8 bits; tests bound the cosine
    goal: () => 2.5,
  });
}
