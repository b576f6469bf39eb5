// The result, for people.

const COLUMNS = ["client", "situation", "faults", "requests", "sent", "arrived", "doubled", "again", "seconds", ""];

/** Prints the rows and what is wrong; returns how many failed. */
export function print(rows) {
  const lines = [COLUMNS, ...rows.map(cells)];
  const widths = COLUMNS.map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  for (const line of lines) {
    console.log(line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join("  "));
  }
  const failed = rows.filter(({ problems }) => problems.length);
  for (const { client, situation, problems } of failed) {
    console.log(`\n${client}, ${situation}:\n  ${problems.join("\n  ")}`);
  }
  console.log(`\n${rows.length - failed.length} passed, ${failed.length} failed`);
  return failed.length;
}

function cells({ client, situation, faults, posts, sent, arrived, doubled, again, seconds, problems }) {
  const numbers = [faults, posts, sent, arrived, doubled, again, seconds?.toFixed(1)];
  return [client, situation, ...numbers.map((number) => String(number ?? "")), problems.length ? "FAILED" : "ok"];
}
