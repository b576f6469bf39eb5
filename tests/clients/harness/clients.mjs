// Every client: how it is started, what it can send, and how much trouble it puts up with.

import { spawn } from "node:child_process";
import path from "node:path";

import { WRITE_KEY } from "./processes.mjs";

const RUN_MS = 150_000;
const SERVER = ["identify", "track", "page", "screen", "group", "alias"];

const RUDDER_BROWSER = SERVER.filter((kind) => kind !== "screen");

/** Three of the node clients try four times within a second or two and then lose what they have. */
const GIVES_UP = { survives: 3, pause: 0 };
/** The others go on for minutes. */
const GOES_ON = { survives: Infinity, pause: 2_000 };

/** `trouble`: faults in a row that it survives, and how long Segue may stay away. */
export const CLIENTS = [
  node("@segment/analytics-node", "segment", "segment_node.cjs", GOES_ON),
  node("analytics-node", "segment", "segment_node_old.cjs", GIVES_UP),
  node("@rudderstack/rudder-sdk-node", "rudderstack", "rudder_node.cjs", GIVES_UP, { gzip: true }),
  node("@customerio/cdp-analytics-node", "segment", "segment_node.cjs", GIVES_UP),
  python("segment-analytics-python", "segment"),
  python("rudder-sdk-python", "rudderstack"),
  browser("@segment/analytics-next", "segment", "segment", SERVER),
  browser("@rudderstack/analytics-js", "rudderstack", "rudder", RUDDER_BROWSER),
  // The last words of a visitor who leaves: nothing is tried again, so only what happens without faults.
  leaving(browser("@segment/analytics-next, batches", "segment", "segment", SERVER), "/v1/b", {
    integrations: { "Segment.io": { deliveryStrategy: { strategy: "batching", config: { size: 7, timeout: 60_000 } } } },
  }),
  leaving(browser("@rudderstack/analytics-js, beacon", "rudderstack", "rudder", RUDDER_BROWSER), "/beacon/v1/batch", {
    useBeacon: true,
    beaconQueueOptions: { flushQueueInterval: 60_000 },
  }),
];

function node(name, source, script, trouble, { gzip = false } = {}) {
  return server(name, source, trouble, gzip, ({ packages }) => [process.execPath, script, packages]);
}

function python(name, source) {
  return server(name, source, GOES_ON, true, ({ venv, packages }) => [path.join(venv, "bin/python"), "server_sdk.py", packages]);
}

function server(name, source, trouble, gzip, program) {
  const run = async (tools, url, rounds) => {
    const [command, script, packages] = program(tools);
    const settings = { package: name, url, writeKey: WRITE_KEY, rounds };
    const env = { ...process.env, CLIENT_PACKAGES: packages, CLIENT_RUN: JSON.stringify(settings) };
    const { said } = await ended(command, [path.join(tools.scripts, script)], env);
    return { said, close: async () => {} };
  };
  return { name, source, kinds: SERVER, trouble, gzip, faults: 3, run };
}

function browser(name, source, page, kinds) {
  function run(tools, url, rounds) {
    return tools.browser.visit(page, { url, writeKey: WRITE_KEY, rounds, options: this.options, leaves: this.leaves });
  }
  // One request for each call, each tried again by itself: more faults, so that most rounds have some.
  return { name, source, kinds, trouble: GOES_ON, gzip: false, faults: 6, isBrowser: true, options: {}, run };
}

/** The same, going to another page right after the last call; `path` is where the last words go. */
function leaving(client, path, options) {
  return { ...client, options, leaves: true, path, situations: ["all is well"] };
}

/** Runs a program to its end; returns its output and what it complained about. */
export function ended(command, args, env) {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], timeout: RUN_MS });
  let output = "";
  let said = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (said += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve({ output, said: said.trim() });
      reject(new Error(`${path.basename(args[0])} ended with ${code ?? signal}: ${said.trim()}`));
    });
  });
}
