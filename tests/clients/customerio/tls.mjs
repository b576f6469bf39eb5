// https in front of a port of this machine, with a certificate made for the occasion.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";

export async function terminator(dir, port) {
  const key = path.join(dir, "key.pem");
  const certificate = path.join(dir, "certificate.pem");
  execFileSync("openssl", [
    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
  ], { stdio: "ignore" });
  const server = tls.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (client) => {
    const plain = net.connect(port, "127.0.0.1");
    client.pipe(plain).pipe(client);
    client.on("error", () => plain.destroy());
    plain.on("error", () => client.destroy());
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return { port: server.address().port, certificate, close: () => server.close() };
}
