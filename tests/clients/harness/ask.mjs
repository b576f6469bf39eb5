// A request of the harness itself. Each has a connection of its own: `fetch` keeps connections, and now
// and then takes one that the server is just closing.

import http from "node:http";

/** Sends a request; returns status and text of the answer. */
export function ask(url, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, text }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** The JSON at a URL. */
export async function json(url) {
  return JSON.parse((await ask(url)).text);
}

/** The header of somebody who has a name and a password. */
export function basic(user, password = "") {
  return { authorization: `Basic ${btoa(`${user}:${password}`)}` };
}
