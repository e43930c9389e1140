// serve.mjs - a small server of static files for examples and tests, on this machine only.
//
//   node tools/serve.mjs [--port N] [--isolate] [--csp POLICY] PATH=FOLDER...
//
// serves each FOLDER (or file) under its PATH ("/" for the rest). --isolate sends COOP and COEP, so
// that pages are cross-origin isolated.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const mimeTypes = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** The file behind a URL's path: that of the longest root it lies under; undefined outside. */
function locate(roots, pathname) {
  let path;
  try {
    path = normalize(decodeURIComponent(pathname));
  } catch {
    return undefined;
  }
  if (path.includes("\0") || !path.startsWith("/")) return undefined;
  const fits = Object.keys(roots).filter((root) => path === root || path.startsWith(root));
  const root = fits.sort((a, b) => b.length - a.length)[0];
  if (root === undefined) return undefined;
  const rest = path.slice(root.length);
  return join(roots[root], rest, path.endsWith("/") ? "index.html" : "");
}

/** The bytes [first, last] that a Range header asks for; undefined for all of them. */
function rangeOf(header, size) {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined) return undefined;
  const range = { start: Number(first), end: last ? Math.min(Number(last), size - 1) : size - 1 };
  return range.start <= range.end ? range : undefined;
}

async function answer(request, response, { roots, headers }) {
  const { pathname } = new URL(request.url, "http://localhost");
  const path = locate(roots, pathname);
  const found = path && (await stat(path).catch(() => undefined));
  if (!found?.isFile()) return response.writeHead(404, headers).end("not found\n");
  const range = rangeOf(request.headers.range, found.size);
  response.writeHead(range ? 206 : 200, {
    ...headers,
    "content-type": mimeTypes[extname(path)] ?? "application/octet-stream",
    "content-length": range ? range.end - range.start + 1 : found.size,
    "accept-ranges": "bytes",
    "cache-control": "no-cache",
    ...(range && { "content-range": `bytes ${range.start}-${range.end}/${found.size}` }),
  });
  if (request.method === "HEAD") return response.end();
  const file = createReadStream(path, range);
  file.on("error", () => response.destroy());
  return file.pipe(response);
}

/** Starts the server; answers its address and a way to end it. Port 0: any that is free. */
export async function serve({ roots, port = 0, isolate = false, csp }) {
  const headers = {
    ...(isolate && {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    }),
    ...(csp && { "content-security-policy": csp }),
  };
  const server = createServer((request, response) => answer(request, response, { roots, headers }));
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values, positionals } = parseArgs({
    options: {
      port: { type: "string", default: "8080" },
      isolate: { type: "boolean", default: false },
      csp: { type: "string" },
    },
    allowPositionals: true,
  });
  const roots = Object.fromEntries(positionals.map((root) => root.split("=")));
  const { url } = await serve({ ...values, roots, port: Number(values.port) });
  console.log(`${url}/  (Ctrl-C ends the server)`);
}
