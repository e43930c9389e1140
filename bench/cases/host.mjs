// host.mjs - the runtime's own cost: a thousand nodes on four numbers each; and a decoded token of
// 30 layers on a GPU that does nothing.
import { execFileSync } from "node:child_process";
import { microseconds, takeTurns } from "../measure.mjs";
import { difference, feedAll, openPeer, openWeft, releaseAll, worksOf } from "../contenders.mjs";
import { NullGpu } from "../null_gpu.mjs";

const LIMIT_US = 60;
const TOKEN_LIMIT_US = 300;
const HEAD_SIZE = 16;
const PAST = 256;
const BURST = 20;

function limit(rows, name, us, most) {
  rows.add(name, `${us.toFixed(0)} us`, `${most} us`, us / most, { most: 1 });
}

export async function host(options, rows) {
  const extra = { graphOptimizationLevel: "disabled" }; // else the chain becomes a few nodes
  const contenders = {
    weft: await openWeft(options.chain, extra),
    "ort-web": await openPeer(options.chain, extra),
  };
  await feedAll(contenders, { x: ["f32", [4], "wave"] });
  const result = { difference: await difference(contenders, 1e-4) };
  const works = worksOf(contenders, (contender) => contender.run(BURST));
  const runs = (result.runs = await takeTurns(works, options.seconds, { burst: BURST }));
  await releaseAll(contenders);
  result.native = JSON.parse(execFileSync(options["host-cost"], [options.chain]));
  rows.compare("1,000 tiny nodes, warm run", runs.weft, runs["ort-web"], microseconds);
  limit(rows, "the same against the limit", runs.weft.min_ms * 1e3, LIMIT_US);
  limit(rows, "the same against the limit, native", result.native.warm_run_us, LIMIT_US);
  result.token = await token(options, rows);
  return result;
}

/** What a decoder is fed for one token: all but the caches' rows is 1 or known. */
function inputsOf({ inputMetadata }) {
  const extents = {
    total_sequence_length: PAST + 1,
    past_sequence_length: PAST,
    kv_cache_dim: HEAD_SIZE,
  };
  const dimsOf = (shape) =>
    shape.map((dim) => (typeof dim === "number" ? dim : (extents[dim] ?? 1)));
  return Object.fromEntries(
    inputMetadata.map(({ name, type, shape }) => [
      name,
      type === "int64" ? ["i64", dimsOf(shape), 1] : ["f32", dimsOf(shape), "wave"],
    ]),
  );
}

/** JavaScript and wasm of a decoded token: of `session.run`, caches staying on the GPU. */
async function token(options, rows) {
  const gpu = new NullGpu();
  Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  const contender = await openWeft(options.layers, {
    executionProviders: ["webgpu"],
    preferredOutputLocation: new Proxy(
      {},
      { get: (_, name) => (String(name).startsWith("present") ? "gpu-buffer" : "cpu") },
    ),
  });
  const { session } = contender;
  contender.feed(inputsOf(session));
  let ms;
  contender.session = {
    async run(feeds) {
      const start = performance.now();
      const results = await session.run(feeds);
      ms += performance.now() - start;
      return results;
    },
    release: () => session.release(),
  };
  const decode = async () => {
    ms = 0;
    await contender.decode(BURST);
    return ms;
  };
  const { weft } = await takeTurns({ weft: decode }, options.seconds, { burst: BURST });
  const before = { ...gpu.counts };
  await contender.decode(1);
  const { dispatches, submits } = gpu.counts;
  const counts = {
    dispatches: dispatches - before.dispatches,
    submits: submits - before.submits,
  };
  await contender.release();
  const name = `a token of 30 layers on a GPU that does nothing, ${counts.dispatches} dispatches`;
  limit(rows, name, weft.min_ms * 1e3, TOKEN_LIMIT_US);
  return { ...weft, ...counts };
}
