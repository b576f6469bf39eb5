// Every client: how it is started, what it can send, and how much trouble it puts up with.

import { spawn } from "node:child_process";
import path from "node:path";

import { WRITE_KEY } from "./processes.mjs";

const RUN_MS = 150_000;
const SERVER = ["identify", "track", "page", "screen", "group", "alias"];

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
  browser("@rudderstack/analytics-js", "rudderstack", "rudder", SERVER.filter((kind) => kind !== "screen")),
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
    const said = await ended(command, [path.join(tools.scripts, script)], env);
    return { said, close: async () => {} };
  };
  return { name, source, kinds: SERVER, trouble, gzip, faults: 3, run };
}

function browser(name, source, page, kinds) {
  const run = (tools, url, rounds) => tools.browser.visit(page, { url, writeKey: WRITE_KEY, rounds });
  // One request for each call, each tried again by itself: more faults, so that most rounds have some.
  return { name, source, kinds, trouble: GOES_ON, gzip: false, faults: 6, isBrowser: true, run };
}

/** Runs a program to its end; returns what it complained about. */
export function ended(command, args, env) {
  const child = spawn(command, args, { env, stdio: ["ignore", "inherit", "pipe"], timeout: RUN_MS });
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(said.trim());
      reject(new Error(`${path.basename(args[0])} ended with ${code ?? signal}: ${said.trim()}`));
    });
  });
}
