// What every client is told to send, and how each call is recognised in Customer.io.

export const ROUNDS = 3;

/**
 * The calls of one run: `ROUNDS` rounds of every kind that the client has. Each call has a mark of its
 * own, which travels in what Customer.io keeps: a property, a trait, the id of a group, the ids of a
 * merge.
 */
export function calls(tag, kinds) {
  return Array.from({ length: ROUNDS }, (_, round) => kinds.map((kind) => call(tag, kind, round)));
}

function call(tag, kind, round) {
  const user = `${tag}-user${round}`;
  const previous = `${tag}-guest${round}`;
  const mark = kind === "alias" ? `${previous}>${user}` : `${tag}-${kind}${round}`;
  return { kind, user, previous, mark };
}

/** The mark of an operation that Customer.io was asked for; nothing where Segue made it by itself. */
export function markOf(operation) {
  const { type, action, attributes = {}, identifiers = {} } = operation;
  if (action === "merge") return `${operation.secondary.id}>${operation.primary.id}`;
  if (type === "object") return identifiers.object_id;
  return attributes.call;
}

/** Segue tells Customer.io by itself that an anonymous id is a person's, with nothing else in it. */
export function isStitch({ type, action, attributes = {} }) {
  const names = Object.keys(attributes);
  return type === "person" && action === "identify" && names.every((name) => name === "anonymous_id");
}
