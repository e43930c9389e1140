// main.js - the page: shows the adapter, has worker.js measure, draws the charts as figures come in
// (Chart.js), each with a table beside it, and saves everything as JSON.
//
// ?size=NAME chooses the sizes, ?model=URL an encoder in place of the one that the page makes.
import { sizes } from "./measure.js";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const dark = matchMedia("(prefers-color-scheme: dark)");
const { Chart } = globalThis;

/** What has been found so far; saved as it is. */
let record = {};
const drawn = new Map();
let worker;
/** What the worker is asked for as soon as it is ready. */
let wish;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const digits = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
const times = (ratio) => `${ratio < 10 ? ratio.toPrecision(2) : ratio.toFixed(0)}×`;

// ---- the adapter --------------------------------------------------------------------------------

function nameOf({ vendor, architecture, device, description }) {
  const name = [vendor, architecture, device].filter(Boolean).join(" ");
  return [name, description].filter(Boolean).join(": ") || "a GPU that the browser does not name";
}

function addFact(name, value) {
  const group = element("div");
  group.append(element("dt", name), element("dd", value));
  $("facts").append(group);
}

function showAdapter(adapter) {
  $("adapter").textContent = nameOf(adapter);
  $("software").hidden = !adapter.software;
  $("facts").replaceChildren();
  const yes = (has) => (has ? "yes" : "not on this adapter");
  const { features, subgroupSizes, subgroupMatrices, limits } = adapter;
  const lanes = [...new Set(subgroupSizes)].join(" to ");
  addFact("f16", yes(features["shader-f16"]));
  addFact("Packed dot products", yes(features["packed-dot"]));
  addFact("Subgroups", features.subgroups && lanes ? `of ${lanes} lanes` : yes(features.subgroups));
  const shapes = subgroupMatrices.join(", ");
  addFact("Subgroup matrices", shapes || yes(features["subgroup-matrix"]));
  addFact("Workgroup memory", `${limits.maxComputeWorkgroupStorageSize / 1024} KiB`);
  addFact("Largest buffer", `${digits(limits.maxBufferSize / 2 ** 30)} GiB`);
}

// ---- tables -------------------------------------------------------------------------------------

const notes = {
  missing: "not on this adapter",
  failed: "failed",
  waiting: "…",
};
/** What a row has in place of a figure, or undefined. */
const noteOf = ({ state }) => notes[state];
const ratioOf = (row, [first]) => (first.value && row.value ? row.value / first.value : undefined);

function tableOf({ title, unit, rows }, against) {
  const table = element("table");
  const head = element("tr");
  const names = ["", unit, ...(against ? [`against ${rows[0].name}`] : [])];
  head.append(...names.map((name) => Object.assign(element("th", name), { scope: "col" })));
  table.append(element("caption", `${title}: the figures`), head);
  for (const row of rows) {
    const line = element("tr");
    const ratio = against && ratioOf(row, rows);
    line.append(Object.assign(element("th", row.name), { scope: "row" }));
    line.append(element("td", noteOf(row) ?? digits(row.value)));
    if (against) line.append(element("td", ratio ? times(ratio) : ""));
    if (row.why) line.title = row.why;
    table.append(line);
  }
  return table;
}

/** Why rows of a chart have no figure, as a list. */
function reasonsOf({ rows }) {
  const list = element("ul", undefined, "reasons");
  for (const { name, why } of rows) if (why) list.append(element("li", `${name}: ${why}`));
  return list;
}

// ---- charts -------------------------------------------------------------------------------------

/** A color of the style sheet, as a canvas understands it. */
function color(name) {
  $("color").style.color = `var(--${name})`;
  return getComputedStyle($("color")).color;
}

/** Writes each bar's text behind its end. */
const barTexts = {
  id: "barTexts",
  afterDatasetsDraw(chart, _, { texts, colour }) {
    const { ctx } = chart;
    ctx.save();
    ctx.fillStyle = colour;
    ctx.font = "13px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    chart.getDatasetMeta(0).data.forEach((bar, i) => {
      const { x, y } = bar.tooltipPosition();
      const left = Number.isFinite(x) ? x : chart.scales.x.left;
      ctx.fillText(texts[i], left + 6, y);
    });
    ctx.restore();
  },
};

/** From 0 on; `more`: other options. */
function axis(title, more) {
  const [grid, ink] = [color("line"), color("quiet")];
  return {
    title: { display: true, text: title, color: ink },
    ticks: { color: ink },
    grid: { color: grid },
    beginAtZero: true,
    ...more,
  };
}

const options = { animation: false, responsive: true, maintainAspectRatio: false };

/** Names that are too long take two lines. */
const linesOf = (name, most) => (name.length > most ? name.split(/(?<=,) (?=[^,]*$)/) : name);

/** Bars, each against the first one. Where there is room their texts have the figure, too. */
function barChart({ rows, unit }, width) {
  const wide = width > 400;
  const ratios = rows.map((row) => ratioOf(row, rows) ?? 0);
  const texts = rows.map((row, i) => {
    if (noteOf(row)) return noteOf(row);
    const figure = `${digits(row.value)} ${unit}`;
    if (!ratios[i]) return figure;
    return wide ? `${times(ratios[i])}, ${figure}` : times(ratios[i]);
  });
  const colors = rows.map((_, i) => color(i === 0 ? "quiet" : "accent"));
  return {
    type: "bar",
    data: {
      labels: rows.map(({ name }) => linesOf(name, wide ? 20 : 12)),
      datasets: [{ data: ratios, backgroundColor: colors, borderRadius: 4, barPercentage: 0.8 }],
    },
    options: {
      ...options,
      indexAxis: "y",
      layout: { padding: { right: wide ? 150 : 60 } },
      scales: {
        x: axis("times as fast as the first row", { suggestedMax: 1 }),
        y: { ticks: { color: color("ink") }, grid: { display: false } },
      },
      plugins: {
        legend: { display: false },
        tooltip: { enabled: false },
        barTexts: { texts, colour: color("ink") },
      },
    },
    plugins: [barTexts],
  };
}

/** A line for the GPU and one for the CPU, over batch sizes. */
function lineChart({ rows, unit }) {
  const batches = [...new Set(rows.map(({ batch }) => batch))];
  const line = (place, name) => {
    const values = rows.filter((row) => row.place === place);
    const threads = values.find((row) => row.threads)?.threads;
    return {
      label: threads ? `${place}, ${threads} thread${threads > 1 ? "s" : ""}` : place,
      data: values.map(({ value }) => value ?? null),
      borderColor: color(name),
      backgroundColor: color(name),
      pointStyle: place === "GPU" ? "circle" : "rect",
      pointRadius: 5,
    };
  };
  const ink = color("ink");
  return {
    type: "line",
    data: { labels: batches, datasets: [line("GPU", "accent"), line("CPU", "warm")] },
    options: {
      ...options,
      scales: { x: axis("texts at once"), y: axis(unit) },
      plugins: { legend: { labels: { color: ink, usePointStyle: true } } },
    },
  };
}

function redraw(chart) {
  const { id, title, rows, unit } = chart;
  const { canvas, figures } = drawn.get(id) ?? addFigure(id);
  const lines = id === "encoder";
  const settings = lines ? lineChart(chart) : barChart(chart, canvas.parentElement.clientWidth);
  canvas.parentElement.style.height = lines ? "18rem" : `${5 + 2.4 * rows.length}rem`;
  canvas.setAttribute(
    "aria-label",
    `Chart: ${title}, ${unit}. Its figures are in the table below.`,
  );
  const known = Chart.getChart(canvas);
  if (known) {
    Object.assign(known, { data: settings.data, options: settings.options });
    known.update();
  } else {
    new Chart(canvas, settings);
  }
  figures.replaceChildren(tableOf(chart, !lines), reasonsOf(chart));
}

/** Where a chart goes: a canvas, and the figures below it. */
function addFigure(id) {
  const figure = element("figure");
  const box = element("div", undefined, "canvas");
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  box.append(canvas);
  const details = element("details");
  const figures = element("div", undefined, "figures");
  details.append(element("summary", "Figures"), figures);
  figure.append(box, details);
  $(id).append(figure);
  drawn.set(id, { figure, canvas, figures });
  return drawn.get(id);
}

function clearCharts() {
  for (const { figure, canvas } of drawn.values()) {
    Chart.getChart(canvas)?.destroy();
    figure.remove();
  }
  drawn.clear();
}

// ---- measuring ----------------------------------------------------------------------------------

/** idle, measuring, done, cancelled or failed. */
function setState(state) {
  document.body.dataset.state = state;
  const busy = state === "measuring";
  $("run").disabled = $("size").disabled = busy || !record.adapter;
  $("cancel").hidden = $("running").hidden = !busy;
  $("save").disabled = busy || !record.charts?.length;
}

const handlers = {
  ready({ adapter, weft }) {
    if (wish) return ask();
    showAdapter(adapter);
    record = { adapter, weft };
    const wished = parameters.get("size");
    const known = [...$("size").options].map(({ value }) => value);
    if (wished in sizes && !known.includes(wished)) $("size").append(new Option(wished, wished));
    $("size").value = wished in sizes ? wished : adapter.software ? "small" : "usual";
    setState("idle");
  },
  progress({ label, done, total }) {
    $("progress-label").textContent = label;
    $("progress").max = total;
    $("progress").value = done;
  },
  chart({ chart }) {
    const at = record.charts.findIndex(({ id }) => id === chart.id);
    record.charts.splice(at < 0 ? record.charts.length : at, 1, chart);
    redraw(chart);
  },
  done() {
    record.finished = true;
    $("status").textContent = "All charts are measured.";
    setState("done");
  },
  failure({ message }) {
    $("failure").hidden = false;
    $("failure").textContent = message;
    wish = undefined;
    if (!record.adapter) $("adapter").textContent = "No GPU that this page could use.";
    stop("failed");
  },
};

/** A worker that says what the adapter is. */
function start() {
  worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => handlers[data.type](data);
  worker.onerror = ({ message }) =>
    handlers.failure({ message: message || "The worker could not be started." });
}
/** Ends the worker, and what it has asked of the GPU. */
function stop(state) {
  worker.terminate();
  worker = undefined;
  setState(state);
}

function run() {
  const size = $("size").value;
  clearCharts();
  $("failure").hidden = true;
  record = {
    format: "weft-bench 1",
    ...{ date: new Date().toISOString(), weft: record.weft, browser: navigator.userAgent },
    ...{ isolated: crossOriginIsolated, processors: navigator.hardwareConcurrency },
    ...{ adapter: record.adapter, size, sizes: sizes[size], charts: [], finished: false },
  };
  $("status").textContent = "Measuring.";
  setState("measuring");
  const model = parameters.get("model");
  wish = { size, model: model ? new URL(model, location.href).href : undefined };
  if (worker) ask();
  else start();
}
function ask() {
  worker.postMessage(wish);
  wish = undefined;
}

function save() {
  const text = JSON.stringify(record, null, 2);
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `weft-bench-${record.date.slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers take a while
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
$("cancel").addEventListener("click", () => {
  $("status").textContent = "Cancelled.";
  stop("cancelled");
});
$("save").addEventListener("click", save);
dark.addEventListener("change", () => record.charts?.forEach(redraw));
start();
