// @rudderstack/rudder-sdk-node, with gzip as by default.
const { load, settings, message } = require("./packages.cjs");

const Analytics = load("@rudderstack/rudder-sdk-node");

async function main() {
  const client = new Analytics(settings.writeKey, {
    dataPlaneUrl: settings.url,
    errorHandler: (error) => console.error(String(error)),
  });
  for (const round of settings.rounds) {
    for (const call of round) client[call.kind](message(call));
    await client.flush();
  }
}

main();
