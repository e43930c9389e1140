// tokenizer.ts - the entry `weft-web/tokenizer`: text to token ids and back, by the core's
// tokenizers.

import type { Core } from "./core.js";
import { env } from "./env.js";
import { loadCore } from "./runtime.js";
import { type Bytes, asBytes, downloadWhole, isFile, readWholeFile } from "./source.js";
import { Tensor } from "./tensor.js";
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
    const core = await loadCore(chooseTier(0, env.wasm.simd));
    return new Tokenizer(core, core.openTokenizer(bytes));
  }

  /** Encodes texts as rows padded to the longest. */
  encode(texts: readonly string[], options: EncodeOptions = {}): Encoding {
    const { ids, mask, types, length } = this.#core.encode(
      this.#open(),
      texts,
      options.maxLength ?? 0,
    );
    const dims = [texts.length, length];
    return {
      input_ids: new Tensor("int64", ids, dims),
      attention_mask: new Tensor("int64", mask, dims),
      token_type_ids: new Tensor("int64", types, dims),
    };
  }

  decode(ids: ArrayLike<number | bigint>, options: { skipSpecialTokens?: boolean } = {}): string {
    const tokens = BigInt64Array.from(Array.from(ids, BigInt));
    return this.#core.decode(this.#open(), tokens, options.skipSpecialTokens ?? true);
  }

  release(): void {
    if (this.#tokenizer) this.#core.call.web_tokenizer_close(this.#tokenizer);
    this.#tokenizer = 0;
  }

  #open(): number {
    if (!this.#tokenizer) throw new Error("The tokenizer is released.");
    return this.#tokenizer;
  }
}
