/** How much a user has submitted today: what bounds the harm of a stolen password. */

import { commit, KEY, pause } from "./kv.ts";

const TWO_DAYS = 2 * 24 * 3600_000;

/**
 * Counts `recipients` for the user unless that would exceed the day's `limit`; false then, and nothing is counted. The
 * day is UTC's. Exact also when several processes count for one user.
 */
export async function countSent(
  kv: Deno.Kv,
  login: string,
  recipients: number,
  limit: number,
  now: number = Date.now(),
): Promise<boolean> {
  const key = KEY.sent(login, new Date(now).toISOString().slice(0, 10));
  for (let attempt = 1; attempt <= 200; attempt++) {
    const found = await kv.get<number>(key);
    const total = (found.value ?? 0) + recipients;
    if (total > limit) return false;
    if (await commit(kv.atomic().check(found).set(key, total, { expireIn: TWO_DAYS }))) return true;
    await pause(Math.random() * 2 * attempt);
  }
  throw new Error("Cannot count what was submitted: the record is changed by too many at once.");
}
