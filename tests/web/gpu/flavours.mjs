// flavours.mjs - the models that tests/models/gpu.py has left in build/flavours.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const folder = fileURLToPath(new URL("../../../build/flavours/", import.meta.url));

/** Their entries; without $WEFT_GPU_FULL those of few kernels, which take seconds to compile. */
export function chosen() {
  const entries = JSON.parse(readFileSync(`${folder}index.json`));
  return process.env.WEFT_GPU_FULL ? entries : entries.filter(({ quick }) => quick);
}

export async function read(file) {
  const { buffer, byteOffset, length } = readFileSync(folder + file);
  return buffer.slice(byteOffset, byteOffset + length);
}
