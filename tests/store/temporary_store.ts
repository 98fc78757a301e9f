import { Aliases } from "../../src/store/aliases.ts";
import type { Domain } from "../../src/store/domains.ts";
import { openKv } from "../../src/store/kv.ts";
import type { ScryptCost } from "../../src/store/passwords.ts";
import { Users } from "../../src/store/users.ts";

/** A real hash that takes no time. */
export const CHEAP: ScryptCost = { n: 1024, r: 8, p: 1 };
export const DOMAINS: readonly Domain[] = [{ name: "ours.test" }, { name: "second.test" }];

/** That no test of several processes reaches by accident. */
export const LOCKOUT = { maxFailures: 100, maxFailuresPerLogin: 150, lockout: 24 * 3600_000 };

export interface TemporaryStore {
  readonly folder: string;
  readonly kv: Deno.Kv;
  readonly users: Users;
  readonly aliases: Aliases;
}

/** A real store in a folder of its own, gone afterwards. */
export async function withStore(
  work: (store: TemporaryStore) => Promise<void>,
  { domains = DOMAINS, now = Date.now }: { domains?: readonly Domain[]; now?: () => number } = {},
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const kv = await openKv({ store: folder });
    try {
      const settings = { domains, store: folder, cost: CHEAP, now };
      await work({ folder, kv, users: new Users(kv, settings), aliases: new Aliases(kv, settings) });
    } finally {
      kv.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs tests/store/other_process.ts on the same store; gives its standard output. */
export async function otherProcess(folder: string, ...args: readonly string[]): Promise<string> {
  const script = new URL("./other_process.ts", import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", script, folder, ...args],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}
