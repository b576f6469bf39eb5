// The clients' packages are installed away from the sources, under target/.
const { createRequire } = require("node:module");
const path = require("node:path");

exports.load = createRequire(path.join(process.env.CLIENT_PACKAGES, "package.json"));
exports.settings = JSON.parse(process.env.CLIENT_RUN);

/** The arguments of a call in the form that all of Segment's and RudderStack's server SDKs share. */
exports.message = ({ kind, user, previous, mark }) => {
  const named = { userId: user, anonymousId: `${user}-visitor` };
  const properties = { call: mark, url: "https://shop.example/mugs", emoji: "Ünïcødé 🎉" };
  switch (kind) {
    case "identify": return { ...named, traits: { call: mark, plan: "pro" } };
    case "track": return { ...named, event: "Mug Filled", properties };
    case "page": return { ...named, name: "Mugs", properties };
    case "screen": return { ...named, name: "Mugs", properties };
    case "group": return { ...named, groupId: mark, traits: { name: "Potters" } };
    case "alias": return { userId: user, previousId: previous };
    default: throw new Error(`no such call: ${kind}`);
  }
};
