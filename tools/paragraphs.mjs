// paragraphs.mjs - the paragraphs of the project's documents, for the demo of semantic search.
//
//   node tools/paragraphs.mjs FOLDER
//
// writes FOLDER/paragraphs.json, [{file, heading, text}] for the page, and FOLDER/paragraphs.txt,
// the texts to embed, one in a line, for the program.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const root = new URL("../", import.meta.url);
const LETTERS_MIN = 80; // shorter ones are captions and the like

function documents() {
  const docs = readdirSync(new URL("docs/", root), { recursive: true })
    .filter((name) => name.endsWith(".md") && name !== "OPS.md") // that is a table
    .map((name) => `docs/${name}`);
  return ["README.md", ...docs.sort()];
}

/** Markdown's marks go, their words stay. */
function plain(markdown) {
  return markdown
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/(\*\*|__|`)/g, "")
    .replace(/^\s*([-*+]|\d+\.)\s+/, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** Code, tables, comments and quotes are left out; an item of a list is a paragraph. */
function paragraphsOf(file, markdown) {
  const found = [];
  let heading = "";
  let lines = [];
  const flush = () => {
    const text = plain(lines.join(" "));
    if (text.length >= LETTERS_MIN) found.push({ file, heading, text });
    lines = [];
  };
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, "").replace(/<!--[\s\S]*?-->/g, "");
  for (const line of prose.split("\n")) {
    const title = /^#+\s+(.*)/.exec(line);
    const code = /^ {4}\S/.test(line) && lines.length === 0;
    if (title || code || line.trim() === "" || /^\s*[|>]/.test(line)) {
      flush();
      if (title) heading = plain(title[1]);
      continue;
    }
    if (/^\s*([-*+]|\d+\.)\s/.test(line)) flush();
    lines.push(line);
  }
  flush();
  return found;
}

export function paragraphs() {
  return documents().flatMap((file) =>
    paragraphsOf(file, readFileSync(new URL(file, root), "utf8")),
  );
}

/** Writes both files; answers the paragraphs. */
export function writeParagraphs(folder) {
  const all = paragraphs();
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/paragraphs.json`, JSON.stringify(all, null, 1));
  writeFileSync(`${folder}/paragraphs.txt`, all.map(({ text }) => `${text}\n`).join(""));
  return all;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) writeParagraphs(process.argv[2]);
