// @segment/analytics-node, and Customer.io's fork of it.
const { load, settings, message } = require("./packages.cjs");

const { Analytics } = load(settings.package);

async function main() {
  for (const round of settings.rounds) {
    // The fork has no flush: a client for each round sends each round by itself in both.
    const client = new Analytics({ writeKey: settings.writeKey, host: settings.url });
    client.on("error", (error) => console.error(error.code, String(error.reason)));
    for (const call of round) client[call.kind](message(call));
    await client.closeAndFlush({ timeout: 100_000 });
  }
}

main();
