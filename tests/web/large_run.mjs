// large_run.mjs - loads a model of large.mjs and runs it twice; in Node and in pages.

export async function loadAndRun({ InferenceSession, Tensor }, { location, data, rows }) {
  const externalData = data && [{ path: "weights.bin", data }];
  const times = [performance.now()];
  const session = await InferenceSession.create(location, data ? { externalData } : {});
  times.push(performance.now());
  const feeds = { row: new Tensor("int64", [BigInt(rows - 1)]) };
  let output;
  for (let i = 0; i < 2; i++) {
    output = (await session.run(feeds))[session.outputNames[0]];
    times.push(performance.now());
  }
  const [createMs, firstMs, warmMs] = times.slice(1).map((time, i) => Math.round(time - times[i]));
  const { runtime } = session;
  await session.release();
  return { ...runtime, createMs, firstMs, warmMs, y: [...output.data] };
}
