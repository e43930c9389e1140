// readme_table.mjs - the figures of build/bench.json as a table. Called as a program, it writes the
// table between the markers of README.md.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const HEAD = ["work", "Weft", "peer or limit", "ratio", "goal", ""];

function cells({ work, weft, peer, ratio, goal, met }) {
  const verdict = met === null ? "" : met ? "met" : "missed";
  /* JSON has no NaN. */
  return [
    work,
    weft,
    peer,
    ratio === null ? "" : ratio.toFixed(2),
    goal === null ? "" : String(goal),
    verdict,
  ];
}

export function formatTable({ rows }) {
  const body = rows.map(cells);
  const widths = HEAD.map((_, i) => Math.max(3, ...[HEAD, ...body].map((line) => line[i].length)));
  const line = (texts) => `| ${texts.map((text, i) => text.padEnd(widths[i])).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(HEAD), rule, ...body.map(line)].join("\n");
}

/** What the figures were taken on. */
function formatMachine({ about }) {
  const { cpu, cores, node, v8 } = about;
  return (
    `Measured on ${cpu} (${cores} cores), Node ${node} (V8 ${v8}), against onnxruntime-web ` +
    `${about["onnxruntime-web"]} and native onnxruntime ${about.onnxruntime}.`
  );
}

const wrap = (text) => text.replace(/(.{1,98})(?: |$)/g, "$1\n").trimEnd();

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const report = JSON.parse(readFileSync("build/bench.json", "utf8"));
  const block = `\n\n${wrap(formatMachine(report))}\n\n${formatTable(report)}\n\n`;
  const text = readFileSync("README.md", "utf8");
  const [, before, after] = /^([^]*<!-- bench -->)[^]*(<!-- \/bench -->[^]*)$/.exec(text);
  writeFileSync("README.md", before + block + after);
}
