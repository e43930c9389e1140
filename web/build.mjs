// build.mjs - makes web/dist: one minified chunk behind the entries, the types, and the wasm files
// of build/wasm-*.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
rmSync(`${here}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: ["index", "wasm", "webgpu", "tokenizer"].map((name) => `src/${name}.ts`),
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
});
execFileSync(process.execPath, [`${here}../node_modules/typescript/bin/tsc`, "-p", here], {
  stdio: "inherit",
});
for (const tier of ["a", "b", "c"]) {
  const file = `${here}../build/wasm-${tier}/weft-${tier}.wasm`;
  if (existsSync(file)) copyFileSync(file, `${here}dist/weft-${tier}.wasm`);
  else console.warn(`web: ${file} is not built`);
}
