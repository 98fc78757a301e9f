/** The names that the callers of these tests have, and the records of theirs that a server keeps. */

import { hostOf } from "../../src/check/host_rules.ts";
import { silent } from "../../src/log.ts";
import { parseIp } from "../../src/smtp/network.ts";
import type { HostRecord } from "../../src/store/host_record.ts";
import { Hosts } from "../../src/store/hosts.ts";
import { openKv } from "../../src/store/kv.ts";
import { readStories, storiesFolder, type Told } from "../../src/store/stories.ts";
import { CLASSIC_RULES, PREFIX_RULES } from "../check/host_rules_of.ts";
import { PREFIX } from "../store/host_counts.ts";
import { letter, send, until } from "../support/letters.ts";
import type { LocalServer } from "../support/local_server.ts";
import { callFrom, sayHello } from "../support/proxy_caller.ts";
import { rsaKey } from "../support/signed_letter.ts";
import type { SmtpPeer } from "../support/smtp_peer.ts";

export const KEY = rsaKey();

/** `good.test` lets all documentation networks send its mail, `bad.test` nobody, and `soft.test` does not like it. */
export const ZONE = `
good.test. TXT "v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all"
bad.test. TXT "v=spf1 -all"
soft.test. TXT "v=spf1 ~all"
one._domainkey.good.test. TXT "${KEY.record}"
a.remote.test. AAAA 2001:db8:5::1
b.remote.test. AAAA 2001:db8:5::1
other.remote.test. AAAA 2001:db8:99::1
`;

export class Records implements AsyncDisposable {
  private constructor(private readonly kv: Deno.Kv, private readonly rules: "classic" | "prefix") {}

  static async open(server: LocalServer, rules: "classic" | "prefix"): Promise<Records> {
    return new Records(await openKv({ store: server.store }), rules);
  }

  /** As it lies on disk now. */
  async of(host: string): Promise<HostRecord | undefined> {
    const rules = this.rules === "classic" ? CLASSIC_RULES : PREFIX_RULES;
    return await new Hosts(this.kv, { counting: PREFIX, log: silent }).get(hostOf(parseIp(host)!, rules));
  }

  /** Waits until it says so: most of it comes to the disk within a second. */
  async until(host: string, holds: (record: HostRecord) => boolean): Promise<HostRecord> {
    let found: HostRecord | undefined;
    try {
      await until(async () => (found = await this.of(host)) !== undefined && holds(found), "a record", 4_000);
    } catch {
      throw new Error(`the record of ${host} is ${JSON.stringify(found)}, and not ${holds}`);
    }
    return found!;
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.kv.close();
  }
}

/** One message from `sender` to these in a connection of its own; the reply that decided. */
export async function mailFrom(
  server: LocalServer,
  host: string,
  sender: string,
  to: readonly string[] = ["ann@ours.test"],
  text = letter("Hello.\r\n", sender),
): Promise<string> {
  const peer = await sayHello(server, host);
  const said = await send(peer, sender, to, text);
  peer.close();
  return said;
}

/** What it hears at first, and whether that was all. */
export async function whole(peer: SmtpPeer): Promise<readonly [said: string, next: string]> {
  const said = await peer.lastLine(), next = await peer.lastLine();
  peer.close();
  return [said, next];
}

export async function refusedAt(server: LocalServer, host: string): Promise<readonly [said: string, next: string]> {
  return await whole(await callFrom(server, host, "mx"));
}

/** All that is told of it; the server writes it within a second. */
export async function storyOf(server: LocalServer, needle: string, lines: number): Promise<readonly Told[]> {
  let told: Told[] = [];
  await until(
    async () => {
      told = [];
      for await (const one of readStories(storiesFolder(server.store), [needle])) told.push(one);
      return told.length >= lines;
    },
    `${lines} stories of ${needle}`,
    4_000,
  );
  return told;
}
