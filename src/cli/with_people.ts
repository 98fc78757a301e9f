/** What the commands about people begin and end with: the config read, the store open, and closed again. */

import type { Config } from "../config.ts";
import { loadConfig } from "../config.ts";
import { Aliases } from "../store/aliases.ts";
import { domainsOf } from "../store/domains.ts";
import { openKv } from "../store/kv.ts";
import { Unsubscribed } from "../store/unsubscribed.ts";
import { Users } from "../store/users.ts";
import type { Context } from "./arguments.ts";
import { asOwner } from "./store_owner.ts";

export interface OpenPeople {
  readonly config: Config;
  readonly users: Users;
  readonly aliases: Aliases;
  readonly unsubscribed: Unsubscribed;
}

export async function withPeople<T>(context: Context, work: (people: OpenPeople) => Promise<T>): Promise<T> {
  const config = await loadConfig(context.configFile);
  return await asOwner(config.store, async () => {
    const kv = await openKv({ store: config.store, ...config.kv === undefined ? {} : { kv: config.kv } });
    try {
      const settings = { domains: domainsOf(config.domains), store: config.store };
      return await work({
        config,
        users: new Users(kv, settings),
        aliases: new Aliases(kv, settings),
        unsubscribed: new Unsubscribed(kv, { calls: false }),
      });
    } finally {
      kv.close();
    }
  });
}
