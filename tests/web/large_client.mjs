// large_client.mjs - loads and runs a model (large_run.mjs) in a process of its own:
// large_client.mjs OPTIONS prints what it saw as JSON, with the most memory that the process held.
import { loadAndRun } from "./large_run.mjs";
import { weft } from "./weft.mjs";

const seen = await loadAndRun(weft, JSON.parse(process.argv[2]));
console.log(JSON.stringify({ ...seen, rssBytes: process.resourceUsage().maxRSS * 1024 }));
