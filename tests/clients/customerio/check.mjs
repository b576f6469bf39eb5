// Customer.io's own clients against the emulator: they must be content with it, and it must show what
// they did. This keeps the emulator honest, behind which all other tests stand.

import assert from "node:assert/strict";
import path from "node:path";

import { ended } from "../harness/clients.mjs";
import { Emulator } from "../harness/processes.mjs";
import { terminator } from "./tls.mjs";

const SITE_ID = "site";
const API_KEY = "right";

/** What to run, by name; each gives rows for the table. */
export function officialClients(tools) {
  const python = path.join(tools.venv, "bin/python");
  const clients = [
    { name: "customerio-node", command: process.execPath, script: "node.cjs" },
    { name: "customerio (python)", command: python, script: "backend.py" },
  ];
  return clients.map((client) => ({ name: client.name, run: () => check(tools, client) }));
}

async function check(tools, { name, command, script }) {
  const dir = path.join(tools.work, name.replace(/\W+/g, "-"));
  const keys = ["--site-id", SITE_ID, "--api-key", API_KEY];
  const emulator = await Emulator.start(tools.segue, dir, keys);
  // Both clients speak https only.
  const tls = await terminator(dir, emulator.port);
  const settings = {
    siteId: SITE_ID, apiKey: API_KEY, port: tls.port, now: Math.floor(Date.now() / 1000), ulid: "01HZZZZZZZ0000000000000000",
    // Ids that must be encoded to be one part of a path.
    person: "jo/1 ü", second: "jo 2?", deleted: "gone#3", suppressed: "silent%4", visitor: "visitor-1",
  };
  const env = {
    ...process.env, CLIENT_PACKAGES: tools.packages, CLIENT_RUN: JSON.stringify(settings),
    NODE_EXTRA_CA_CERTS: tls.certificate, REQUESTS_CA_BUNDLE: tls.certificate,
  };
  const { output } = await ended(command, [path.join(tools.official, script)], env);
  const rows = [
    { client: name, situation: "its work shows", problems: await failures(() => shows(emulator, settings)) },
    { client: name, situation: "its errors are known", problems: await failures(() => refuses(JSON.parse(output))) },
  ];
  tls.close();
  await emulator.stop();
  return rows;
}

/** The emulator holds what the story made, and nothing else. */
async function shows(emulator, { person, second, deleted, suppressed, visitor, now }) {
  const jo = await emulator.person(person);
  assert.equal(jo?.id, person);
  assert.equal(jo.email, "jo@shop.example");
  assert.deepEqual(jo.attributes, { created_at: now, nickname: "Jojo", plan: "pro" });
  assert.deepEqual(jo.events.map(({ name }) => name), ["Mug Filled", "/mugs", "Mug Bought", "Mug Broken"]);
  assert.deepEqual(jo.events[0].data, { volume: 0.3 });
  assert.equal(jo.events[0].timestamp, now);
  assert.equal(jo.events[1].kind, "page");
  assert.deepEqual(jo.devices.map(({ token, platform, last_used: used }) => [token, platform, used]), [["token/1", "ios", now]]);
  assert.deepEqual(jo.devices[0].attributes, { app: "shop" });
  for (const gone of [second, deleted]) assert.equal(await emulator.person(gone), undefined, gone);
  assert.equal((await emulator.person(suppressed)).attributes.plan, "back");

  const anonymous = (await emulator.list("events")).filter((event) => event.anonymous_id === visitor);
  assert.deepEqual(anonymous.map(({ name, data }) => [name, data]), [["Mug Seen", { colour: "blue" }]]);

  const did = (await emulator.list("activity")).map(({ outcome }) => outcome);
  const wanted = ["duplicate_event", "merged_people", "deleted_person", "suppressed_person", "suppressed", "unsuppressed_person"];
  for (const outcome of wanted) assert.equal(did.filter((one) => one === outcome).length, 1, outcome);
}

/** The clients recognise the errors as Customer.io documents them. */
function refuses({ wrongKey, invalid }) {
  assert.match(wrongKey.type, /^CustomerIO(RequestError|Exception)$/);
  assert.equal(wrongKey.status, 401);
  assert.match(wrongKey.message, /Unauthorized request/);
  assert.equal(invalid.status, 400);
  assert.match(invalid.message, /name/);
}

async function failures(holds) {
  try {
    await holds();
    return [];
  } catch (error) {
    return [error.message];
  }
}
