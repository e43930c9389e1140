// decoder.mjs - a Llama-shaped decoder of 4-bit weights: prefill and decode, and what a long
// context costs.
import { feedAll, openAll, openWeft, releaseAll, usual, worksOf } from "../contenders.mjs";
import { ms, perSecond, speedup, takeTurns } from "../measure.mjs";

export const LAYERS = 12;
const KV_HEADS = 4;
const HEAD_SIZE = 64;
const PROMPT = 256;
const LONG = 4096;

/** `tokens` more on top of `past` that are cached. */
export function decoderInputs(tokens, past) {
  const inputs = {
    input_ids: ["i64", [1, tokens], "ids"],
    attention_mask: ["i64", [1, past + tokens], 1],
  };
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const part of ["key", "value"])
      inputs[`past_key_values.${layer}.${part}`] = ["f32", [1, KV_HEADS, past, HEAD_SIZE], "wave"];
  }
  return inputs;
}

/** Prefill of 256 tokens: the same each time. */
async function prefill(options, rows, contenders) {
  const { threads, seconds } = options;
  await feedAll(contenders, decoderInputs(PROMPT, 0));
  const works = worksOf(contenders, (contender) => contender.run());
  const runs = await takeTurns(works, seconds, { warmUp: 1 });
  const show = perSecond(PROMPT, "tok/s");
  const name = `decoder int4, prefill ${PROMPT}, T${threads}`;
  rows.compare(name, runs.weft, runs["ort-web"], show, 4.5);
  rows.compare(`${name}: native onnxruntime`, runs.weft, runs["ort-native"], show, 0.8);
  rows.compare(`${name}: native Weft`, runs["weft-native"], runs["ort-native"], show);
  if (threads > 1)
    rows.compare(
      `decoder int4, prefill: T${threads} over T1`,
      runs.weft,
      runs["weft-1"],
      show,
      1.9,
    );
  const first = runs.weft.first_ms / runs.weft.min_ms;
  if (runs.weft.times)
    rows.add(
      `decoder int4, prefill, first run over warm, T${threads}`,
      `${runs.weft.first_ms.toFixed(0)} ms`,
      ms(runs.weft),
      first,
    );
  return runs;
}

/** Decoding after 256 tokens; what is cached grows from turn to turn, for all alike. */
async function decode(options, rows, contenders) {
  const { threads, seconds } = options;
  await feedAll(contenders, decoderInputs(1, PROMPT));
  const burst = 4;
  const works = worksOf(contenders, (contender) => contender.decode(burst));
  const runs = await takeTurns(works, seconds, { burst, warmUp: 2 });
  const show = perSecond(1, "tok/s");
  const name = `decoder int4, decode, T${threads}`;
  rows.compare(name, runs.weft, runs["ort-web"], show, 30);
  rows.compare(`${name}: native onnxruntime`, runs.weft, runs["ort-native"], show, 0.75);
  rows.compare(`${name}: native Weft`, runs["weft-native"], runs["ort-native"], show);
  if (threads > 1)
    rows.compare(`decoder int4, decode: T${threads} over T1`, runs.weft, runs["weft-1"], show, 1.9);
  return runs;
}

/** ms of the attention steps of one run. */
function attentionMs(profile) {
  const steps = profile.filter(({ op }) => op === "attention");
  return steps.reduce((sum, { ns }) => sum + ns, 0) / 1e6;
}

/** The time of a token and of its attention, on so many cached ones. */
async function atContext(options, past, tokens) {
  const contender = await openWeft(options.decoder, { enableProfiling: true });
  contender.feed(decoderInputs(1, past));
  await contender.decode(4);
  let total = Infinity;
  let attention = Infinity;
  for (let i = 0; i < tokens; i++) {
    const before = attentionMs(contender.session.profile());
    const start = performance.now();
    await contender.decode(1);
    total = Math.min(total, performance.now() - start);
    attention = Math.min(attention, attentionMs(contender.session.profile()) - before);
  }
  await contender.release();
  return { total, attention };
}

/** By how much more a token takes on 4,096 cached ones than on 256, against attention's part. */
async function longContext(options, rows) {
  const [near, far] = [await atContext(options, PROMPT, 16), await atContext(options, LONG, 16)];
  const growth = far.total - near.total;
  const attention = far.attention - near.attention;
  rows.add(
    `decoder int4, a token at ${LONG} over ${PROMPT}, against attention's own, T${options.threads}`,
    `+${growth.toFixed(2)} ms`,
    `+${attention.toFixed(2)} ms`,
    growth / attention,
    { most: 1.15 },
  );
  return { near, far };
}

/** The same decode between peers at 4,096: caches copied by those that copy. */
async function longDecode(options, rows) {
  const contenders = await openAll(["weft-native", "ort-native"], options.decoder, options);
  await feedAll(contenders, decoderInputs(1, LONG));
  const burst = 4;
  const works = worksOf(contenders, (contender) => contender.decode(burst));
  const runs = await takeTurns(works, options.seconds / 2, { burst });
  await releaseAll(contenders);
  const name = `decoder int4, decode at ${LONG}, T${options.threads}: native Weft, onnxruntime`;
  rows.compare(name, runs["weft-native"], runs["ort-native"], perSecond(1, "tok/s"));
  return { runs, ratio: speedup(runs["weft-native"], runs["ort-native"]) };
}

export async function decoder(options, rows) {
  const contenders = await openAll(usual(options.threads), options.decoder, options);
  const result = {};
  result.prefill = await prefill(options, rows, contenders);
  result.decode = await decode(options, rows, contenders);
  await releaseAll(contenders);
  result.long_decode = await longDecode(options, rows);
  result.long_context = await longContext(options, rows);
  return result;
}
