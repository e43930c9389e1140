// main.js - the page: shows how far loading is, sends questions to worker.js, shows its answers.

const $ = (id) => document.getElementById(id);
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const tiers = { a: "SIMD", b: "relaxed SIMD", c: "relaxed SIMD, 64-bit memory" };
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
const seconds = (ms) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`);
let latest = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text ?? "";
  return made;
}

function showProgress(label, done, total) {
  $("progress-label").textContent = label;
  $("progress").max = total || 1;
  if (total) $("progress").value = done;
  else $("progress").removeAttribute("value");
}

function showResult({ score, file, heading, text }) {
  const item = element("li", "result");
  const top = element("div", "result-top");
  const meter = element("meter", "score-bar");
  meter.min = 0;
  meter.max = 1;
  meter.value = Math.max(score, 0);
  meter.setAttribute("aria-hidden", "true");
  const where = element("div", "where");
  where.append(element("span", "source", file), " ", element("span", "heading", heading));
  top.append(where, meter, element("span", "score", score.toFixed(3)));
  item.append(top, element("p", "text", text));
  return item;
}

function ask(question) {
  if (!question.trim()) return;
  $("results").setAttribute("aria-busy", "true");
  worker.postMessage({ id: ++latest, question });
}

const handlers = {
  loading({ stage, done, total }) {
    const what = stage === "read" ? "Reading the model" : "Preparing the model";
    showProgress(
      `${what}: ${megabytes(done)}${total ? ` of ${megabytes(total)}` : ""}`,
      done,
      total,
    );
  },
  indexing({ done, total }) {
    showProgress(`Reading the documents: ${done} of ${total} paragraphs`, done, total);
  },
  ready({ texts, tier, wasmBytes, crossOriginIsolated, loadMs, indexMs }) {
    $("loading").hidden = true;
    $("search").disabled = false;
    $("question").focus();
    $("facts").hidden = false;
    $("tier").textContent = `${tier.toUpperCase()}, ${tiers[tier]}`;
    $("isolated").textContent = crossOriginIsolated ? "yes" : "no";
    $("load-time").textContent = seconds(loadMs);
    $("text-time").textContent = `${(indexMs / texts).toFixed(1)} ms`;
    $("texts").textContent = texts;
    $("memory").textContent = megabytes(wasmBytes);
    document.body.dataset.state = "ready";
  },
  answer({ id, question, results, ms }) {
    if (id !== latest) return; // a newer question is on its way
    $("results").replaceChildren(...results.map(showResult));
    $("results").removeAttribute("aria-busy");
    $("status").textContent =
      `${results.length} paragraphs for “${question}” in ${ms.toFixed(1)} ms`;
    $("query-time").textContent = `${ms.toFixed(1)} ms`;
    document.body.dataset.answered = question;
  },
  failure({ message }) {
    $("loading").hidden = true;
    $("failure").hidden = false;
    $("failure").textContent = message;
    document.body.dataset.state = "failed";
  },
};

worker.onmessage = ({ data }) => handlers[data.type](data);
worker.onerror = ({ message }) =>
  handlers.failure({ message: message || "The worker could not be started." });

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask($("question").value);
});
$("examples").addEventListener("click", ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  $("question").value = target.textContent;
  ask(target.textContent);
});
