/** What another maildemon does to the store: `other_process.ts FOLDER ACTION …`. */

import { called } from "../../src/check/host_history.ts";
import { silent } from "../../src/log.ts";
import { Commits } from "../../src/store/commits.ts";
import { agreeOnCounting } from "../../src/store/host_counting.ts";
import { openKv } from "../../src/store/kv.ts";
import { type Lockout, Lockouts } from "../../src/store/lockouts.ts";
import { parseMailbox } from "../../src/smtp/address.ts";
import { Refused } from "../../src/store/people.ts";
import { secret } from "../../src/store/secrets.ts";
import { Unsubscribed } from "../../src/store/unsubscribed.ts";
import { Users } from "../../src/store/users.ts";
import { WebhookCalls } from "../../src/store/webhook_calls.ts";
import { seeded } from "../support/every_cut.ts";
import { CLASSIC, hostsAt, live, net, NOON, PREFIX } from "./host_counts.ts";
import { CHEAP, DOMAINS, LOCKOUT } from "./temporary_store.ts";

const [folder = "", action, first = "", second = "", third = ""] = Deno.args;
const kv = await openKv({ store: folder });
const users = new Users(kv, { domains: DOMAINS, store: folder, cost: CHEAP });

switch (action) {
  case "add":
    await users.add({ address: first, password: second });
    break;
  case "race": {
    // Everybody wants the same addresses; says which of them this process got.
    const won: number[] = [];
    for (let number = 0; number < Number(first); number++) {
      try {
        await users.add({ address: `${second}${number}@ours.test`, addresses: [`wanted${number}@ours.test`] });
        won.push(number);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
      }
    }
    console.log(JSON.stringify(won));
    break;
  }
  case "sum": {
    const commits = new Commits(kv);
    // One after the other, so that each pays its own commit and meets those of the others.
    for (let number = 0; number < Number(first); number++) await commits.write({ do: "sum", key: ["sum"], by: 1n });
    break;
  }
  case "count": {
    let counted = 0;
    for (let number = 0; number < Number(second); number++) counted += Number(await users.countSent(first, 1));
    console.log(counted);
    break;
  }
  case "fail": {
    const lockouts = new Lockouts(kv, { ...LOCKOUT, exempt: [] });
    const locks: Lockout[] = [];
    for (let number = 0; number < Number(third); number++) locks.push(...(await lockouts.fail(first, second)).locks);
    console.log(JSON.stringify(locks.map(({ of }) => of)));
    break;
  }
  case "call": {
    // One connection of each of so many hosts after the other, a ban now and then, all changes soon on disk.
    const hosts = hostsAt(kv, { now: NOON }, PREFIX, 5);
    for (let time = 0; time < Number(first); time++) {
      await hosts.change(net(`198.51.100.${time % Number(second)}`), called);
      await new Promise((done) => setTimeout(done, 3));
    }
    await hosts.close();
    break;
  }
  case "agree":
    // As soon as the clock says so, together with others.
    await new Promise((done) => setTimeout(done, Number(second) - Date.now()));
    await agreeOnCounting(kv, first === "classic" ? CLASSIC : PREFIX, silent);
    break;
  case "live": {
    const clock = { now: NOON }, hosts = hostsAt(kv, clock);
    await live(kv, hosts, clock, seeded(Number(first)), Number(second));
    await hosts.close();
    break;
  }
  case "unsubscribe": {
    // The same ones as everybody else, one after the other; then says which of the calls are this process's to make.
    const lists = new Unsubscribed(kv, { calls: true }), calls = new WebhookCalls(kv), claimed: string[] = [];
    const carol = parseMailbox("carol@remote.test")!;
    for (let number = 0; number < Number(first); number++) {
      await lists.add(carol, [`user${number}@ours.test`], { by: "mail" });
    }
    for (let call = await calls.claim(); call !== undefined; call = await calls.claim()) claimed.push(call.user);
    console.log(JSON.stringify(claimed));
    break;
  }
  case "secret":
    console.log((await secret(kv, "scram")).toHex());
    break;
  default:
    throw new Error(`unknown action ${action}`);
}
kv.close();
