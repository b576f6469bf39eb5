// What Customer.io has in the end, compared with what the client was told to send.

import { setTimeout as sleep } from "node:timers/promises";

import { isStitch, markOf } from "./calls.mjs";

const ARRIVE_MS = 60_000;
const POLL_MS = 200;

/** Everything that Customer.io was asked for and did, by mark. */
export async function seen(emulator) {
  const marks = new Map();
  const unknown = [];
  const of = (mark) => {
    if (!marks.has(mark)) marks.set(mark, { asked: 0, stored: 0 });
    return marks.get(mark);
  };
  for (const { path, body, status } of await emulator.list("requests")) {
    if (path !== "/api/v2/batch" || status !== 200) continue;
    for (const operation of body.batch) {
      const mark = markOf(operation);
      if (mark !== undefined) of(mark).asked += 1;
      else if (!isStitch(operation)) unknown.push(operation);
    }
  }
  for (const event of await emulator.list("events")) {
    if (event.data.call === undefined) unknown.push(event);
    else of(event.data.call).stored += 1;
  }
  const rejected = (await emulator.list("activity")).filter((entry) => entry.outcome === "rejected");
  return { marks, unknown, rejected };
}

/** Waits until every call has arrived; returns whether all did. */
export async function arrival(emulator, rounds) {
  const wanted = rounds.flat();
  for (const until = Date.now() + ARRIVE_MS; Date.now() < until; await sleep(POLL_MS)) {
    const { marks } = await seen(emulator);
    if (wanted.every((call) => marks.has(call.mark))) return true;
  }
  return false;
}

/** Waits until Segue has nothing left to send; returns its account, `ended` being how many by outcome and reason. */
export async function settled(segue) {
  for (const until = Date.now() + ARRIVE_MS; Date.now() < until; await sleep(POLL_MS)) {
    const { accepted, pending, ended } = await segue.account();
    const done = ended.reduce((sum, { count }) => sum + count, 0);
    if (pending === 0 && accepted === done) return ended.filter(({ count }) => count > 0);
  }
  throw new Error("Segue's account does not come out even: events are pending, or counted wrongly");
}

const EVENTS = new Set(["track", "page", "screen"]);

/**
 * The verdict on one run. An event counts by what Customer.io stored, everything else by how often it
 * was asked for. After a kill Segue may ask again for what was on its way (`again`): Customer.io knows
 * the event's id, and the other operations change nothing the second time.
 */
export function verdict(marks, rounds, { killed }) {
  const result = { sent: 0, arrived: 0, doubled: 0, again: 0, missing: [] };
  for (const { kind, mark } of rounds.flat()) {
    const { asked = 0, stored = 0 } = marks.get(mark) ?? {};
    const isEvent = EVENTS.has(kind);
    const had = isEvent ? stored : asked;
    result.sent += 1;
    result.arrived += had > 0 ? 1 : 0;
    if (had === 0) result.missing.push(mark);
    const extra = Math.max(had - 1, 0);
    if (isEvent || !killed) result.doubled += extra;
    result.again += isEvent ? asked - stored : killed ? extra : 0;
  }
  return result;
}
