// search.js - semantic search: texts become vectors, and what lies nearest to a question's vector
// answers it. Used by the page's worker and, in Node, by tools/demo.mjs.

/** An encoder of the BERT kind with its tokenizer. */
export class TextEncoderModel {
  #session;
  #tokenizer;

  constructor(session, tokenizer) {
    this.#session = session;
    this.#tokenizer = tokenizer;
  }

  get runtime() {
    return this.#session.runtime;
  }

  /** The mean of the hidden states [1, tokens, width], scaled to length 1. */
  async embed(text) {
    const { last_hidden_state } = await this.#session.run(this.#tokenizer.encode([text]));
    const [, tokens, width] = last_hidden_state.dims;
    const hidden = last_hidden_state.data;
    const vector = new Float32Array(width);
    for (let at = 0; at < tokens * width; at++) vector[at % width] += hidden[at];
    const norm = Math.hypot(...vector);
    return vector.map((value) => value / norm);
  }
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** The `top` best of `vectors` for the question's: [{text: its index, score}]. */
export function rank(vectors, question, top) {
  return vectors
    .map((vector, text) => ({ text, score: dot(vector, question) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, top);
}
