// A Segue that takes nothing: its journal holds all it may, and its Customer.io is away.

import path from "node:path";

import { ask, basic } from "./ask.mjs";
import { Segue, WRITE_KEY, freePort } from "./processes.mjs";

export async function fullSegue({ segue, work }) {
  const destination = `http://127.0.0.1:${await freePort()}`;
  const more = "\n[journal]\nmax_pending = 1\n";
  const full = await Segue.start(segue, path.join(work, "full"), { kind: "segment", destination, more });
  // The limit is looked at before an event is taken, so it may take a few until it is reached.
  for (let at = 0; at < 50; at += 1) {
    const answer = await post(full.url, { type: "track", event: "Filler", userId: "u", messageId: `filler-${at}` });
    if (answer.status === 503) return full;
  }
  throw new Error("the journal does not get full");
}

function post(url, event) {
  return ask(`${url}/v1/track`, { method: "POST", headers: basic(WRITE_KEY), body: JSON.stringify(event) });
}
