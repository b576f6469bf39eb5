// Runs every client through every situation and prints what arrived. See README.md.

import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { Browser } from "./harness/browser.mjs";
import { CLIENTS } from "./harness/clients.mjs";
import { lane } from "./harness/lane.mjs";
import { fullSegue } from "./harness/full.mjs";
import { print } from "./harness/table.mjs";
import { officialClients } from "./customerio/check.mjs";

const { values } = parseArgs({
  options: {
    segue: { type: "string" },
    packages: { type: "string" },
    venv: { type: "string" },
    chromium: { type: "string" },
    only: { type: "string" },
  },
});

const here = path.dirname(fileURLToPath(import.meta.url));
// A socket's path is limited to about a hundred bytes: not under target/.
const work = await mkdtemp(path.join(os.tmpdir(), "segue-clients-"));
const tools = { ...values, work, scripts: path.join(here, "clients"), pages: path.join(here, "pages"), official: path.join(here, "customerio") };

const wanted = (name) => !values.only || name.includes(values.only);
const clients = CLIENTS.filter(({ name, isBrowser }) => wanted(name) && (values.chromium || !isBrowser));
if (values.chromium && clients.some(({ isBrowser }) => isBrowser)) {
  tools.browser = await Browser.start(values.chromium, tools);
}
const full = await fullSegue(tools);
const jobs = [...clients.map((client) => named(client.name, lane(client, tools, full))),
  ...officialClients(tools).filter(({ name }) => wanted(name)).map(({ name, run }) => named(name, run()))];
const rows = (await Promise.all(jobs)).flat();

await tools.browser?.close();
await full.stop();
const failed = print(rows);
if (failed) console.log(`the servers' output is in ${work}`);
else await rm(work, { recursive: true });
process.exit(failed ? 1 : 0);

/** A client whose run breaks down is a row that failed, not the end of the others. */
async function named(client, rows) {
  try {
    return await rows;
  } catch (error) {
    return [{ client, situation: "it broke down", problems: [error.stack] }];
  }
}
