// One client through all situations, with a Segue and a Customer.io of its own.

import path from "node:path";

import { calls } from "./calls.mjs";
import { arrival, seen, settled, verdict } from "./oracle.mjs";
import { Emulator, Segue } from "./processes.mjs";
import { Proxy } from "./proxy.mjs";

const repeat = (steps, count) => Array.from({ length: count }, (_, at) => steps[at % steps.length]);

/** What happens on the way; `faults` of a client says how often in a row. */
const SITUATIONS = [
  { name: "all is well", faults: () => [] },
  { name: "Segue says 503", faults: (count) => repeat(["busy"], count) },
  { name: "the network drops", faults: (count) => repeat(["lost", "unanswered", "torn"], count) },
  { name: "Segue is killed", faults: () => ["restart"], killed: true },
];

/** Runs them one after the other; returns a row for each. */
export async function lane(client, tools, full) {
  const dir = path.join(tools.work, client.name.replace(/\W+/g, "-"));
  const emulator = await Emulator.start(tools.segue, dir);
  const segue = await Segue.start(tools.segue, dir, { kind: client.source, destination: emulator.url });
  const proxy = await Proxy.start(segue, full.port);
  const runs = [];
  const situations = SITUATIONS.filter(({ name }) => client.situations?.includes(name) ?? true);
  for (const [at, situation] of situations.entries()) {
    runs.push({ situation, ...(await run(client, tools, { proxy, emulator, situation, tag: `s${at}` })) });
  }
  // Only now: what one situation sent twice may come during the next.
  const ended = await settled(segue);
  const { marks, unknown, rejected } = await seen(emulator);
  const rows = runs.map((one) => row(client, one, marks));
  rows.push(whole(client, runs, { marks, unknown, rejected, ended }));
  proxy.close();
  await Promise.all([segue.stop(), emulator.stop()]);
  return rows;
}

async function run(client, tools, { proxy, emulator, situation, tag }) {
  const { survives, pause } = client.trouble;
  const rounds = calls(tag, client.kinds);
  const faults = situation.faults(client.faults);
  // The kill is the first thing that goes wrong, so what is left of the client's patience is refused.
  proxy.arm({ faults, skip: 1, refusals: survives - 1, downMs: pause });
  // A merge has an effect only where there is somebody to merge.
  await Promise.all(rounds.flat().filter(({ kind }) => kind === "alias").map(({ previous }) => emulator.create(previous)));
  const began = Date.now();
  const { said, close } = await client.run(tools, proxy.url, rounds);
  await arrival(emulator, rounds);
  await proxy.restarted();
  await close();
  const { posts, gzipped, unused, paths } = proxy;
  return { rounds, faults, said, posts, gzipped, unused, paths, seconds: (Date.now() - began) / 1000 };
}

function row(client, one, marks) {
  const { situation, rounds, faults, posts, gzipped, unused, paths, said, seconds } = one;
  const result = verdict(marks, rounds, situation);
  const problems = [];
  if (result.missing.length) problems.push(`missing: ${result.missing.join(", ")}`);
  if (result.doubled) problems.push("doubled");
  if (unused) problems.push(`${unused} faults did not happen`);
  if (client.path && !paths.has(client.path)) problems.push(`nothing went to ${client.path}`);
  if (client.gzip && gzipped !== posts) problems.push(`${posts - gzipped} requests without gzip`);
  if (problems.length && said) problems.push(`it said: ${said}`);
  return { client: client.name, situation: situation.name, faults: faults.length, posts, ...result, seconds, problems };
}

/** What must hold over all situations together: nothing invented, nothing refused, every number adds up. */
function whole(client, runs, { marks, unknown, rejected, ended }) {
  const sent = new Set(runs.flatMap(({ rounds }) => rounds.flat().map(({ mark }) => mark)));
  const invented = [...[...marks.keys()].filter((mark) => !sent.has(mark)), ...unknown];
  const problems = [];
  if (invented.length) problems.push(`${invented.length} operations that nobody asked for: ${JSON.stringify(invented.slice(0, 3))}`);
  if (rejected.length) problems.push(`Customer.io refused ${rejected.length}: ${rejected[0].reason}`);
  for (const { outcome, reason, count } of ended) {
    const wanted = outcome === "delivered" ? count === sent.size : reason === "duplicate";
    if (!wanted) problems.push(`${sent.size} were sent, Segue says: ${count} ${outcome} ${reason}`);
  }
  return { client: client.name, situation: "all together", problems };
}
