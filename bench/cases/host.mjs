// host.mjs - the runtime's own cost: a thousand nodes on four numbers each.
import { execFileSync } from "node:child_process";
import { microseconds, takeTurns } from "../measure.mjs";
import { difference, feedAll, openPeer, openWeft, releaseAll, worksOf } from "../contenders.mjs";

const LIMIT_US = 60;

export async function host(options, rows) {
  const extra = { graphOptimizationLevel: "disabled" }; // else the chain becomes a few nodes
  const contenders = {
    weft: await openWeft(options.chain, extra),
    "ort-web": await openPeer(options.chain, extra),
  };
  await feedAll(contenders, { x: ["f32", [4], "wave"] });
  const result = { difference: await difference(contenders, 1e-4) };
  const burst = 20;
  const works = worksOf(contenders, (contender) => contender.run(burst));
  const runs = (result.runs = await takeTurns(works, options.seconds, { burst }));
  await releaseAll(contenders);
  result.native = JSON.parse(execFileSync(options["host-cost"], [options.chain]));
  rows.compare("1,000 tiny nodes, warm run", runs.weft, runs["ort-web"], microseconds);
  const limit = (name, us) =>
    rows.add(name, `${us.toFixed(0)} us`, `${LIMIT_US} us`, us / LIMIT_US, { most: 1 });
  limit("the same against the limit", runs.weft.min_ms * 1e3);
  limit("the same against the limit, native", result.native.warm_run_us);
  return result;
}
