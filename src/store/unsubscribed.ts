/** Who wants no more mail of which user. With each comes, where somebody is to be called for it, that call. */

import { addressKey, formatMailbox, type Mailbox, parseMailbox, withoutTag } from "../smtp/address.ts";
import { commit, KEY } from "./kv.ts";
import type { WebhookCall } from "./webhook_calls.ts";

export interface Unsubscription {
  /** As it stood in From, or in the link; in lower case. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly by: "mail" | "link";
}

export interface UnsubscribedSettings {
  /** For each a call is put down, in the same commit. */
  readonly calls: boolean;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** One commit holds at most a hundred checks. */
const AT_ONCE = 40;

export class Unsubscribed {
  readonly #kv: Deno.Kv;
  readonly #settings: UnsubscribedSettings;

  constructor(kv: Deno.Kv, settings: UnsubscribedSettings) {
    this.#kv = kv;
    this.#settings = settings;
  }

  /** Puts an address on the lists of these logins; once is enough. Rejects when it cannot be kept. */
  async add(
    address: Mailbox,
    users: readonly string[],
    { by, id }: { readonly by: Unsubscription["by"]; /** Queue id of the message. */ readonly id?: string },
  ): Promise<void> {
    const at = (this.#settings.now ?? Date.now)(),
      text = formatMailbox({ ...address, local: address.local.normalize("NFC").toLowerCase() });
    for (let from = 0; from < users.length; from += AT_ONCE) {
      await this.#addSome(address, users.slice(from, from + AT_ONCE), (user) => ({
        id: crypto.randomUUID(),
        user,
        address: text,
        by,
        ...(id !== undefined && { message: id }),
        at,
        attempts: 0,
        due: at,
      }));
    }
  }

  async #addSome(address: Mailbox, users: readonly string[], callFor: (user: string) => WebhookCall): Promise<void> {
    const keys = new Map(users.flatMap((user) => {
      const login = parseMailbox(user);
      return login === undefined
        ? []
        : [[addressKey(login), { user, key: KEY.unsubscribed(login, addressKey(address)) }]];
    }));
    for (;;) {
      const change = this.#kv.atomic();
      let changes = 0;
      for (const { user, key } of keys.values()) {
        const found = await this.#kv.get<Unsubscription>(key), call = callFor(user);
        if (found.value !== null) continue;
        const entry: Unsubscription = { address: call.address, at: call.at, by: call.by };
        change.check(found).set(key, entry);
        if (this.#settings.calls) change.set(KEY.webhookCall(call.id), call);
        changes++;
      }
      if (changes === 0 || await commit(change) !== undefined) return;
    }
  }

  /** Whether an address, with or without its tag, is on the list of this login. */
  async has(user: string, address: Mailbox): Promise<boolean> {
    const login = parseMailbox(user), plain = withoutTag(address);
    if (login === undefined) return false;
    for (const one of plain === address ? [address] : [address, plain]) {
      if ((await this.#kv.get(KEY.unsubscribed(login, addressKey(one)))).value !== null) return true;
    }
    return false;
  }

  /** In order of address. */
  async list(login: Mailbox): Promise<Unsubscription[]> {
    const all: Unsubscription[] = [];
    const entries = this.#kv.list<Unsubscription>({ prefix: KEY.unsubscribedOf(login) });
    for await (const { value } of entries) all.push(value);
    return all;
  }

  /** False when it was not on the list. */
  async remove(login: Mailbox, address: Mailbox): Promise<boolean> {
    const key = KEY.unsubscribed(login, addressKey(address));
    for (;;) {
      const found = await this.#kv.get(key);
      if (found.value === null) return false;
      if (await commit(this.#kv.atomic().check(found).delete(key)) !== undefined) return true;
    }
  }

  /** For a user who is gone. */
  async forget(login: Mailbox): Promise<void> {
    for await (const { key } of this.#kv.list({ prefix: KEY.unsubscribedOf(login) })) {
      await commit(this.#kv.atomic().delete(key));
    }
  }
}
