// Segue and its emulator as the processes that an operator would start.

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createWriteStream } from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ask, basic, json } from "./ask.mjs";

export const WRITE_KEY = "client-tests";
const START_MS = 30_000;

const running = new Set();

// A test run that ends early must not leave servers behind.
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

export class Emulator {
  static async start(segue, dir, args = []) {
    await mkdir(dir, { recursive: true });
    const emulator = new Emulator();
    emulator.port = await freePort();
    const listen = ["--listen", `127.0.0.1:${emulator.port}`];
    emulator.child = start(segue, ["emulate", ...listen, ...args], path.join(dir, "emulator.log"));
    emulator.url = `http://127.0.0.1:${emulator.port}`;
    await answers(`${emulator.url}/emulator`, emulator.child);
    return emulator;
  }

  /** All of a list that the emulator shows in pages. */
  async list(view) {
    const all = [];
    for (let since = 0; ; ) {
      const page = await json(`${this.url}/emulator/${view}?since=${since}`);
      if (page.forgotten) throw new Error(`the emulator forgot ${page.forgotten} ${view}`);
      if (!page[view].length) return all;
      all.push(...page[view]);
      since = page.next;
    }
  }

  /** A person who was there before. */
  async create(id) {
    const headers = { ...basic("site", "key"), "content-type": "application/json" };
    await ask(`${this.url}/api/v1/customers/${id}`, { method: "PUT", headers, body: "{}" });
  }

  async person(who) {
    const { status, text } = await ask(`${this.url}/emulator/people/${encodeURIComponent(who)}`);
    return status === 200 ? JSON.parse(text) : undefined;
  }

  stop() {
    return stop(this.child);
  }
}

export class Segue {
  /** `more` is appended to the configuration. */
  static async start(binary, dir, { kind, destination, more = "" }) {
    await mkdir(dir, { recursive: true });
    const segue = new Segue();
    segue.binary = binary;
    segue.dir = dir;
    segue.port = await freePort();
    segue.adminPort = await freePort();
    segue.url = `http://127.0.0.1:${segue.port}`;
    segue.config = path.join(dir, "segue.toml");
    await writeFile(segue.config, configuration(segue.port, segue.adminPort, kind, destination) + more);
    await segue.again();
    return segue;
  }

  /** Starts it, on the same port and the same journal as before. */
  async again() {
    const args = ["serve", "--config", this.config];
    this.child = start(this.binary, args, path.join(this.dir, "segue.log"));
    await answers(`${this.url}/health/live`, this.child);
  }

  /** No warning, no time to write anything: what power loss looks like to a process. */
  async kill() {
    await stop(this.child, "SIGKILL");
  }

  /** Its own account of every event: `accepted`, `pending` and `ended`, each by outcome and reason. */
  async account() {
    const { text: metrics } = await ask(`http://127.0.0.1:${this.adminPort}/metrics`);
    const sum = (name) => samples(metrics, name).reduce((total, { value }) => total + value, 0);
    const ended = samples(metrics, "segue_events_total").map(({ labels, value }) => ({ ...labels, count: value }));
    return { accepted: sum("segue_events_accepted_total"), pending: sum("segue_events_pending"), ended };
  }

  stop() {
    return stop(this.child);
  }
}

function configuration(port, adminPort, kind, destination) {
  return `transforms = "shipped"
listen = "127.0.0.1:${port}"
data_dir = "data"

[[source]]
name = "sdk"
kind = "${kind}"
write_keys = ["${WRITE_KEY}"]
token = "${WRITE_KEY}" # as for a key that only servers know: merges need a secret

[customerio]
site_id = "site"
api_key = "key"
url = "${destination}"

[admin]
listen = "127.0.0.1:${adminPort}"
`;
}

/** The samples of one metric in Prometheus' text. */
function samples(metrics, name) {
  const lines = metrics.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.map((line) => ({
    labels: Object.fromEntries([...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value])),
    value: Number(line.slice(line.lastIndexOf(" "))),
  }));
}

const given = new Set();

/** A port that nobody listens on, below those that the system gives to connections: one of them may take it
    before the server does. */
export async function freePort() {
  for (;;) {
    const port = 15000 + Math.floor(Math.random() * 15000);
    if (given.has(port)) continue;
    given.add(port);
    const server = net.createServer();
    const isFree = await new Promise((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Starts a program whose output goes to a file. */
function start(program, args, log) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const file = createWriteStream(log, { flags: "a" });
  child.stdout.pipe(file, { end: false });
  child.stderr.pipe(file, { end: false });
  child.log = log;
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function stop(child, signal = "SIGINT") {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

async function answers(url, child) {
  for (const until = Date.now() + START_MS; Date.now() < until; await sleep(20)) {
    if (child.exitCode !== null) break;
    const ok = await ask(url).then(({ status }) => status === 200, () => false);
    if (ok) return;
  }
  throw new Error(`${url} does not answer; its output is in ${child.log}`);
}
