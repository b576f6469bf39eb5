// What a shop's backend does with customerio-node. Prints how the errors look that it has to handle.
const { load, settings } = require("../clients/packages.cjs");

const { TrackClient } = load("customerio-node");

const { person, second, deleted, suppressed, visitor, ulid, now, siteId, apiKey, port } = settings;

function client(key) {
  return new TrackClient(siteId, key, { url: `https://localhost:${port}/api/v1` });
}

async function story(cio) {
  await cio.identify(person, { email: "jo@shop.example", plan: "pro", created_at: now });
  await cio.identify(second, { nickname: "Jojo" });
  await cio.mergeCustomers("id", person, "id", second);
  for (let time = 0; time < 2; time += 1) {
    await cio.track(person, { name: "Mug Filled", id: ulid, timestamp: now, data: { volume: 0.3 } });
  }
  await cio.trackPageView(person, "/mugs");
  await cio.trackAnonymous(visitor, { name: "Mug Seen", data: { colour: "blue" } });
  await cio.addDevice(person, "token/1", "ios", { last_used: now, app: "shop" });
  await cio.addDevice(person, "token/2", "android");
  await cio.deleteDevice(person, "token/2");
  await cio.identify(deleted);
  await cio.destroy(deleted);
  await cio.identify(suppressed);
  await cio.suppress(suppressed);
  await cio.identify(suppressed, { plan: "ignored" });
  await cio.unsuppress(suppressed);
  await cio.identify(suppressed, { plan: "back" });
  await cio.trackPush({ delivery_id: "d1", device_id: "token/1", event: "opened", timestamp: now });
  await cio.reportMetric({ delivery_id: "d2", metric: "clicked", timestamp: now });
  await cio.batch([
    { type: "person", action: "event", identifiers: { id: person }, name: "Mug Bought", timestamp: now },
    { type: "person", action: "identify", identifiers: { id: suppressed }, attributes: { plan: "back again" } },
  ]);
  await cio.entity({ type: "person", action: "event", identifiers: { id: person }, name: "Mug Broken" });
  await cio.entity({ type: "person", action: "identify", identifiers: { id: suppressed }, attributes: { plan: "back" } });
  const { region } = await cio.getAccountRegion();
  if (region !== "us") throw new Error(`the account's region is ${region}`);
}

async function refusal(work) {
  try {
    await work();
  } catch (error) {
    return { type: error.name, status: error.statusCode, message: error.message };
  }
  return { type: "none" };
}

async function main() {
  const cio = client(apiKey);
  await story(cio);
  const wrongKey = await refusal(() => client("wrong").identify(person, { plan: "stolen" }));
  const invalid = await refusal(() => cio.track(person, { name: "n".repeat(101) }));
  console.log(JSON.stringify({ wrongKey, invalid }));
}

main();
