// build.mjs - makes web/dist: one minified chunk behind the entries, the types, and the wasm files
// of build/wasm-*. onnxruntime-common is bundled, its types included, so that nothing is left to
// install.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const modules = `${here}../node_modules`;
const dist = `${here}dist`;
const made = `${here}../build/web-dist`;

const files = (folder, ending) => readdirSync(folder).filter((name) => name.endsWith(ending));

function copyTypes() {
  execFileSync(process.execPath, [`${modules}/typescript/bin/tsc`, "-p", here, "--outDir", made], {
    stdio: "inherit",
  });
  for (const name of files(made, ".d.ts")) {
    const text = readFileSync(`${made}/${name}`, "utf8");
    writeFileSync(
      `${made}/${name}`,
      text.replaceAll('"onnxruntime-common"', '"./common/index.js"'),
    );
  }
  const common = `${modules}/onnxruntime-common/dist/esm`;
  mkdirSync(`${made}/common`);
  for (const name of files(common, ".d.ts")) {
    const text = readFileSync(`${common}/${name}`, "utf8");
    writeFileSync(`${made}/common/${name}`, text.replace(/\n\/\/# sourceMappingURL=.*/, ""));
  }
}

function copyWasm() {
  for (const tier of ["a", "b", "c"]) {
    const file = `${here}../build/wasm-${tier}/weft-${tier}.wasm`;
    if (existsSync(file)) copyFileSync(file, `${made}/weft-${tier}.wasm`);
    else console.warn(`web: ${file} is not built`);
  }
}

const entries = ["index", "wasm", "webgpu", "tokenizer"];

// In a folder of its own first, so that no one finds half of it.
rmSync(made, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: {
    ...Object.fromEntries(entries.map((name) => [name, `src/${name}.ts`])),
    "weft-thread": "src/thread.ts",
  },
  outdir: made,
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
});
copyTypes();
copyWasm();
rmSync(dist, { recursive: true, force: true });
renameSync(made, dist);
