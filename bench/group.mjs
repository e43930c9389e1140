// group.mjs - one group of the benchmarks in a process of its own, on so many threads:
// `group.mjs NAME OPTIONS` prints lines of JSON: { row } for each row of the table, at last {
// figures, error }. bench.mjs starts it.
import { useThreads } from "./contenders.mjs";
import { Rows, pauseFor } from "./measure.mjs";
import { creation } from "./cases/creation.mjs";
import { decoder } from "./cases/decoder.mjs";
import { minilm, minilmQ8 } from "./cases/encoder.mjs";
import { host } from "./cases/host.mjs";
import { dynamic, matmul, nbits } from "./cases/products.mjs";
import { sizes } from "./cases/sizes.mjs";
import { webgpuDecoder, webgpuEncoder } from "./cases/webgpu.mjs";

const groups = { matmul, dynamic, nbits, minilm, "minilm-q8": minilmQ8, decoder, host, creation };
Object.assign(groups, { sizes, "webgpu-minilm": webgpuEncoder, "webgpu-decoder": webgpuDecoder });

const [name, text] = process.argv.slice(2);
const options = JSON.parse(text);
useThreads(options.threads);
pauseFor(options.threads);
const noTimes = (key, value) => (key === "times" ? undefined : value);
const print = (line, done) => process.stdout.write(`${JSON.stringify(line, noTimes)}\n`, done);
const rows = new Rows((row) => print({ row }));
let figures, error;
try {
  figures = await groups[name](options, rows);
} catch (thrown) {
  error = String(thrown?.message ?? thrown);
  console.error(thrown);
}
print({ figures, error }, () => process.exit());
