// analytics-node, which Segment no longer develops and many still run.
const { load, settings, message } = require("./packages.cjs");

const Analytics = load("analytics-node");

async function main() {
  const client = new Analytics(settings.writeKey, {
    host: settings.url,
    errorHandler: (error) => console.error(String(error)),
  });
  for (const round of settings.rounds) {
    for (const call of round) client[call.kind](message(call));
    await client.flush();
  }
}

main();
