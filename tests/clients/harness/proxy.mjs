// What stands between a client and Segue: it passes everything on, byte for byte, until a fault is
// due. Faults are counted in POSTs, not in time, so that every run has the same ones and a client
// that tries only so often is known to have a chance.
//
//   busy        another Segue answers, whose journal is full: a 503 as Segue really gives it
//   lost        the connection closes before Segue has the request
//   unanswered  Segue has it and said 200; the connection closes before the client hears of it
//   torn        the same, after the answer's first bytes
//   restart     as unanswered, and Segue is killed at that moment and started again

import http from "node:http";

export class Proxy {
  #segue;
  #full;
  #faults = [];
  #skip = 0;
  #refusals = 0;
  #up = Promise.resolve();
  #isDown = false;

  /** `full` is the port of the Segue that takes nothing. */
  static async start(segue, full) {
    const proxy = new Proxy();
    proxy.#segue = segue;
    proxy.#full = full;
    proxy.server = http.createServer((request, response) => {
      proxy.#handle(request, response).catch(() => response.socket?.destroy());
    });
    proxy.server.keepAliveTimeout = 75_000;
    await new Promise((resolve) => proxy.server.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** Sets the faults of the POSTs after the next `skip`. A restart keeps Segue away for `downMs`; the
   * first `refusals` requests of that time are refused, further ones wait until it is back. */
  arm({ faults, skip, refusals = Infinity, downMs = 0 }) {
    this.posts = 0;
    this.gzipped = 0;
    this.paths = new Set();
    this.#faults = [...faults];
    this.#skip = skip;
    this.#refusals = refusals;
    this.downMs = downMs;
  }

  /** How many faults did not happen. */
  get unused() {
    return this.#faults.length;
  }

  async restarted() {
    await this.#up;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #handle(request, response) {
    const body = await read(request);
    let fault;
    if (request.method === "POST") {
      this.posts += 1;
      this.paths.add(request.url.split("?")[0]);
      if (request.headers["content-encoding"] === "gzip") this.gzipped += 1;
      fault = this.posts > this.#skip && !this.#isDown ? this.#faults.shift() : undefined;
    }
    if (this.#isDown) {
      if (this.#refusals > 0) {
        this.#refusals -= 1;
        return response.socket.destroy();
      }
      await this.#up;
    }
    if (fault === "lost") return response.socket.destroy();
    const answer = await forward(request, body, fault === "busy" ? this.#full : this.#segue.port);
    if (fault === undefined || (fault === "busy" && answer.status === 503)) {
      response.writeHead(answer.status, answer.headers);
      return response.end(answer.body);
    }
    // The whole point is a client that does not know what Segue knows.
    if (answer.status !== 200) throw new Error(`${fault} wants a 200, Segue said ${answer.status}`);
    if (fault === "restart") this.#restart();
    if (fault === "torn") {
      return response.socket.end("HT", () => response.socket?.destroy());
    }
    response.socket.destroy();
  }

  #restart() {
    this.#isDown = true;
    const again = async () => {
      await this.#segue.kill();
      await new Promise((resolve) => setTimeout(resolve, this.downMs));
      await this.#segue.again();
      this.#isDown = false;
    };
    this.#up = again();
  }
}

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function forward(request, body, port) {
  const { method, url: path, rawHeaders } = request;
  return new Promise((resolve, reject) => {
    const headers = pairs(rawHeaders).filter(([name]) => !/^(connection|transfer-encoding|content-length)$/i.test(name));
    if (body.length || method === "POST") headers.push(["Content-Length", String(body.length)]);
    const onward = http.request({ host: "127.0.0.1", port, method, path, setHost: false, agent: false });
    for (const [name, value] of headers) onward.setHeader(name, value);
    onward.on("error", reject);
    onward.on("response", async (answer) => {
      try {
        const whole = await read(answer);
        const kept = pairs(answer.rawHeaders).filter(([name]) => !/^connection$/i.test(name));
        resolve({ status: answer.statusCode, headers: kept.flat(), body: whole });
      } catch (error) {
        reject(error);
      }
    });
    onward.end(body);
  });
}

function pairs(raw) {
  return Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at], raw[2 * at + 1]]);
}
