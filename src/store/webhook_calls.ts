/** The calls that are still to be made, and by whom: servers that share a store must not make one twice. */

import { commit, KEY } from "./kv.ts";

export interface WebhookCall {
  readonly id: string;
  /** Login of the user, and who wants no more mail of him. */
  readonly user: string;
  readonly address: string;
  readonly by: "mail" | "link";
  /** Queue id of the message that asked for it. */
  readonly message?: string;
  /** When that was, and when it is to be tried next; milliseconds since 1970. */
  readonly at: number;
  readonly attempts: number;
  readonly due: number;
}

/** Milliseconds. Longer than a call lasts: then whoever claimed it has ended in the middle of it. */
const CLAIM = 60_000;
/** No call is put off longer: what is due later was put down by a clock that has been set back since. */
const LONGEST = 6 * 3600_000;

export class WebhookCalls {
  readonly #kv: Deno.Kv;
  readonly #now: () => number;

  constructor(kv: Deno.Kv, now: () => number = Date.now) {
    this.#kv = kv;
    this.#now = now;
  }

  /** One that is due, which for a minute is the caller's alone. */
  async claim(): Promise<WebhookCall | undefined> {
    for await (const entry of this.#kv.list<WebhookCall>({ prefix: KEY.webhookCalls })) {
      const { value } = entry, now = this.#now(), left = value.due - now;
      if (left > 0 && left <= LONGEST) continue;
      const claimed = { ...value, due: now + CLAIM };
      if (await commit(this.#kv.atomic().check(entry).set(entry.key, claimed)) !== undefined) return claimed;
    }
    return undefined;
  }

  /** It has been made, or given up. */
  async done({ id }: WebhookCall): Promise<void> {
    await commit(this.#kv.atomic().delete(KEY.webhookCall(id)));
  }

  /** To be made again, `wait` milliseconds from now; unless the claim has ended, and it is another's, or done. */
  async defer(call: WebhookCall, wait: number): Promise<void> {
    const found = await this.#kv.get<WebhookCall>(KEY.webhookCall(call.id));
    if (found.value?.due !== call.due) return;
    const later: WebhookCall = { ...call, attempts: call.attempts + 1, due: this.#now() + wait };
    await commit(this.#kv.atomic().check(found).set(found.key, later));
  }
}
