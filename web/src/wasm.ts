// wasm.ts - the entry `weft-web/wasm`: the CPU alone. Today that is all there is.
export * from "./index.js";
export { default } from "./index.js";
