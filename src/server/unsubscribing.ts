/** All that unsubscribing needs: the lists, the links, and the calls for those who want to hear of it. */

import { listFields } from "../accept/list_unsubscribe.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import { Webhook } from "../send/webhook.ts";
import type { Mailbox } from "../smtp/address.ts";
import { parseMailbox } from "../smtp/address.ts";
import type { UnsubscribeParts } from "../status/unsubscribe_page.ts";
import type { PeopleCache } from "../store/people_cache.ts";
import { secret } from "../store/secrets.ts";
import { UnsubscribeLinks } from "../store/unsubscribe_links.ts";
import { Unsubscribed } from "../store/unsubscribed.ts";
import { WebhookCalls } from "../store/webhook_calls.ts";

export interface Unsubscribing {
  /** Somebody is called for each: then the message that asks for it need not be delivered. */
  readonly calls: boolean;
  /** Rejects when it cannot be kept. */
  add(address: Mailbox, users: readonly string[], id: string): Promise<void>;
  has(user: string, address: Mailbox): Promise<boolean>;
  /** What a user's message gets on top who writes newsletters, as lines with CRLF. */
  listFields(user: string, from: Mailbox, recipients: readonly string[]): Promise<string>;
  /** For the page that the links lead to; absent when nobody outside can reach it. */
  readonly page?: UnsubscribeParts;
  /** Makes the calls until it is closed; absent when there is nobody to call. */
  readonly run?: () => Webhook;
}

export async function openUnsubscribing(
  { unsubscribe: { webhook, secret_file, url }, secrets }: Config,
  { kv, people, log }: { readonly kv: Deno.Kv; readonly people: PeopleCache; readonly log: Log },
): Promise<Unsubscribing> {
  const lists = new Unsubscribed(kv, { calls: webhook !== undefined });
  const links = new UnsubscribeLinks(await secret(kv, "unsubscribe"));
  let running: Webhook | undefined;
  const add = async (address: Mailbox, users: readonly string[], how: { by: "mail" | "link"; id?: string }) => {
    await lists.add(address, users, how);
    running?.wake();
  };
  const key = secret_file === undefined ? undefined : secrets.get(secret_file);
  return {
    calls: webhook !== undefined,
    add: (address, users, id) => add(address, users, { by: "mail", id }),
    has: (user, address) => lists.has(user, address),
    async listFields(user, from, [only, ...others]) {
      const login = parseMailbox(user), address = parseMailbox(only ?? "");
      if (login === undefined || !(await people.user(login))?.newsletter) return "";
      const isOne = address !== undefined && others.length === 0 && url !== undefined;
      return listFields(from, isOne ? links.linkFor(url, user, address) : undefined);
    },
    ...(url !== undefined && {
      page: {
        read: (token: string) => links.read(token),
        unsubscribe: (address: Mailbox, user: string) => add(address, [user], { by: "link" }),
      },
    }),
    ...(webhook !== undefined && key !== undefined && {
      run: () => running = new Webhook({ url: webhook, secret: key }, { calls: new WebhookCalls(kv), log }),
    }),
  };
}
