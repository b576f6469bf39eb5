// Headless Chromium, and the shop's pages that it opens: another origin than Segue, as in real life.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
  "--disable-background-networking", "--disable-component-update",
];

/** RudderStack's SDK tries again after two seconds, also what has arrived without its knowing: these are
 * the requests that could double an event. */
const LINGER_MS = 3_000;

export class Browser {
  /** `chromium` is the program, `tools` says where packages and pages are. */
  static async start(chromium, tools) {
    const browser = new Browser();
    const { chromium: driver } = createRequire(path.join(tools.packages, "package.json"))("playwright-core");
    browser.chromium = await driver.launch({ executablePath: chromium, args: FLAGS });
    browser.shop = await shop(tools);
    return browser;
  }

  /** Opens a page as a new visitor and has it send the rounds. It stays open until `close`, unless the
   * visitor leaves right after the last call. */
  async visit(name, settings) {
    const context = await this.chromium.newContext();
    const page = await context.newPage();
    const said = [];
    page.on("pageerror", (error) => said.push(String(error)));
    await page.goto(`${this.shop.url}/pages/${name}.html`);
    await page.evaluate((given) => window.start(given), settings);
    for (const round of settings.rounds) {
      await page.evaluate((calls) => calls.forEach((call) => window.send(call)), round);
      if (!settings.leaves) await page.waitForTimeout(500);
    }
    if (settings.leaves) await page.goto(`${this.shop.url}/pages/elsewhere.html`);
    const close = async () => {
      if (!settings.leaves) await page.waitForTimeout(LINGER_MS);
      await context.close();
    };
    return { said: said.join("\n"), close };
  }

  async close() {
    await this.chromium.close();
    this.shop.server.close();
  }
}

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

async function shop({ pages, packages }) {
  const roots = { pages, packages: path.join(packages, "node_modules") };
  const server = http.createServer(async (request, response) => {
    const [, root, ...rest] = decodeURI(request.url.split("?")[0]).split("/");
    try {
      const file = path.join(roots[root], path.normalize(`/${rest.join("/")}`));
      const body = await readFile(file);
      response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}
