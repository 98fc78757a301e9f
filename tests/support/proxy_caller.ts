/** Callers from anywhere: the server takes the address of its peers from the PROXY protocol. */

import { expect } from "./letters.ts";
import { type Kind, type LocalServer, underTls } from "./local_server.ts";
import { SmtpPeer } from "./smtp_peer.ts";

/** One of each kind on a free port, as `listeners` of a LocalServer. */
export const PROXIED = (["mx", "submission", "submissions"] as const).map((kind) => `
[[listeners]]
address = "127.0.0.1:0"
kind = "${kind}"
proxy_protocol_from = ["127.0.0.0/8"]
`).join("");

/** A connection from this address, under TLS where it begins so; nothing is read yet. */
export async function callFrom(server: LocalServer, host: string, kind: Kind): Promise<SmtpPeer> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.port(kind) });
  conn.setNoDelay(true);
  const [family, to] = host.includes(":") ? ["TCP6", "2001:db8::25"] : ["TCP4", "192.0.2.25"];
  await conn.write(new TextEncoder().encode(`PROXY ${family} ${host} ${to} 4096 465\r\n`));
  return new SmtpPeer(kind === "submissions" ? await underTls(conn) : conn);
}

/** The greeting. */
export async function greetingFor(server: LocalServer, host: string, kind: Kind): Promise<string> {
  const peer = await callFrom(server, host, kind);
  const said = await peer.lastLine();
  peer.close();
  return said;
}

/** On the mx port after EHLO. */
export async function sayHello(server: LocalServer, host: string, name = "client.remote.test"): Promise<SmtpPeer> {
  const peer = await callFrom(server, host, "mx");
  expect(await peer.lastLine(), "220");
  expect(await peer.say(`EHLO ${name}`), "250");
  return peer;
}
