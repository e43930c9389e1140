// tokenizer.ts - the entry `weft-web/tokenizer`: text to token ids and back, by the core's
// tokenizers.

import { Tensor } from "onnxruntime-common";
import type { Core } from "./core.js";
import { env } from "./env.js";
import { loadCore } from "./runtime.js";
import { type Bytes, asBytes, downloadWhole, isFile, readWholeFile } from "./source.js";
import { chooseTier } from "./tiers.js";

export interface EncodeOptions {
  /** Tokens of a row, special ones included; by default as the tokenizer's file says. */
  maxLength?: number;
}

/** What a text encoder is fed with: int64 tensors [texts, tokens]. */
export interface Encoding {
  input_ids: Tensor;
  attention_mask: Tensor;
  token_type_ids: Tensor;
}

const ID_BYTES = 8;
const INPUT_POINTERS = 4; // weft_encode_input: a text and its length, no second text

export class Tokenizer {
  readonly #core: Core;
  #tokenizer: number;

  private constructor(core: Core, tokenizer: number) {
    this.#core = core;
    this.#tokenizer = tokenizer;
  }

  /** From a tokenizer.json or vocab.txt: its URL, path (in Node) or bytes. */
  static async create(file: string | URL | Bytes): Promise<Tokenizer> {
    let bytes: Uint8Array;
    if (typeof file !== "string" && !(file instanceof URL)) bytes = asBytes(file);
    else if (isFile(String(file))) bytes = await readWholeFile(String(file));
    else bytes = await downloadWhole(file);
    const core = await loadCore(chooseTier(0, env.wasm.simd), false);
    const tokenizer = core.withBytes(bytes, (at, length) =>
      core.check(core.call.web_tokenizer_open(core.context, at, length)),
    );
    return new Tokenizer(core, tokenizer);
  }

  /** Encodes texts as rows padded to the longest. */
  encode(texts: readonly string[], options: EncodeOptions = {}): Encoding {
    const core = this.#core;
    const maxLength = options.maxLength ?? 0;
    return this.#withInputs(texts, (inputs) => {
      const length = this.#encode(inputs, texts.length, maxLength, 0, [0, 0, 0]);
      const capacity = texts.length * length;
      return core.withMemory(3 * capacity * ID_BYTES, (at) => {
        const arrays = [0, 1, 2].map((i) => at + i * capacity * ID_BYTES);
        this.#encode(inputs, texts.length, maxLength, capacity, arrays);
        const [input_ids, attention_mask, token_type_ids] = arrays.map((array) => {
          const { buffer } = new Uint8Array(core.bytes(array, capacity * ID_BYTES));
          return new Tensor("int64", new BigInt64Array(buffer), [texts.length, length]);
        }) as [Tensor, Tensor, Tensor];
        return { input_ids, attention_mask, token_type_ids };
      });
    });
  }

  /** Calls `work` with an array of weft_encode_input, and the texts behind it. */
  #withInputs<T>(texts: readonly string[], work: (inputs: number) => T): T {
    const core = this.#core;
    const encoded = texts.map((text) => new TextEncoder().encode(text));
    const arrayBytes = texts.length * INPUT_POINTERS * core.pointerSize;
    const textBytes = encoded.reduce((sum, { length }) => sum + length, 0);
    return core.withMemory(arrayBytes + textBytes, (inputs) => {
      let at = inputs + arrayBytes;
      const pointers = encoded.flatMap((bytes) => {
        core.bytes(at, bytes.length).set(bytes);
        at += bytes.length;
        return [at - bytes.length, bytes.length, 0, 0];
      });
      core.writePointers(inputs, pointers);
      return work(inputs);
    });
  }

  /** The length of the rows; with a capacity of 0 nothing is written. */
  #encode(inputs: number, count: number, max: number, capacity: number, arrays: number[]): number {
    const core = this.#core;
    const length = core.call.web_tokenizer_encode(
      ...[core.context, this.#open(), inputs, count, max, capacity, ...arrays],
    );
    if (length < 0) throw core.failure();
    return length;
  }

  decode(ids: ArrayLike<number | bigint>, options: { skipSpecialTokens?: boolean } = {}): string {
    const core = this.#core;
    const tokens = BigInt64Array.from(Array.from(ids, BigInt));
    const skip = options.skipSpecialTokens === false ? 0 : 1;
    return core.withBytes(asBytes(tokens), (at) => {
      const { context, call } = core;
      const text = call.web_tokenizer_decode(context, this.#open(), at, tokens.length, skip);
      return core.text(core.check(text));
    });
  }

  release(): void {
    if (this.#tokenizer && !this.#core.trap) this.#core.call.web_tokenizer_close(this.#tokenizer);
    this.#tokenizer = 0;
  }

  #open(): number {
    if (!this.#tokenizer) throw new Error("The tokenizer is released.");
    return this.#tokenizer;
  }
}
