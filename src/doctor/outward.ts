/** Whether mail can leave from here. */

import type { Dns } from "../dns/records.ts";
import { findRoute, type Via } from "../send/route.ts";
import { call, CallFailed } from "./caller.ts";
import { doubtful, type Finding, fine, wrong } from "./finding.ts";

export interface Outward {
  readonly route: "direct" | "smarthost" | "capture";
  readonly smarthost?: Via;
  /** Of remote servers. */
  readonly port: number;
  /** A domain whose mail servers are called. */
  readonly probe: string;
  readonly hostname: string;
  /** Milliseconds. */
  readonly patience: number;
}

/** So many addresses are called at once; one answer is enough. */
const TRIED = 4;

export async function checkOutward(outward: Outward, dns: Dns): Promise<Finding> {
  const { route, smarthost, port, probe, hostname, patience } = outward;
  if (route === "capture") {
    return fine({ topic: "outbound", about: "capture" }, "nothing leaves: all mail goes to files");
  }
  const target = smarthost === undefined ? probe : `${smarthost.host}:${smarthost.port}`;
  const subject = { topic: "outbound", about: target } as const;
  // Where it is does not matter: nothing is sent.
  const found = await findRoute(
    probe,
    { hostname, port, routes: [], ...(smarthost && { smarthost }) },
    { dns, judge: () => "public" },
  );
  if (found.to === "nowhere") {
    const advice = "Name another domain with --probe, or look at the servers in [dns].";
    return doubtful(subject, "no-answer", `${found.reply.text}, so port ${port} could not be tried`, advice);
  }
  const calls = found.servers.flatMap(({ name, addresses, port }) => addresses.map((host) => ({ name, host, port })))
    .slice(0, TRIED);
  const failures = new Set<string>();
  const tried = await Promise.all(calls.map(async ({ name, host, port }) => {
    try {
      const tls = port === 465 ? "implicit" : "none";
      await call({ host, port, hello: hostname, tls, serverName: name, proxied: false, patience });
      return name;
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      failures.add(error.message);
      // Who answers with a refusal has answered: the way is open.
      return error.at === "connection" ? undefined : name;
    }
  }));
  const answered = tried.find((name) => name !== undefined);
  if (answered !== undefined) return fine(subject, `${answered} answers at port ${calls[0]?.port}`);
  return wrong(
    subject,
    "outbound-shut",
    `no connection to port ${calls[0]?.port} of ${[...new Set(calls.map(({ name }) => name))].join(", ")}: ` +
      [...failures].join("; "),
    smarthost === undefined
      ? 'Many providers keep port 25 shut until asked to open it: ask yours, or use route = "smarthost".'
      : "Look at smarthost in [outbound], and ask its operator.",
  );
}
