/**
 * What becomes of failed logins: they are counted, they lock, and each is told in one line of the log, by which
 * fail2ban and CrowdSec know it. As text, behind the time and the level, these lines are
 *
 *     login-failed connection=1a host=192.0.2.1 login=ann@example.com failures=2 of=3
 *     host-locked connection=1a host=192.0.2.1 network=192.0.2.1 failures=3 until=2026-01-02T03:04:05.678Z
 *     login-locked connection=1a host=192.0.2.1 login=ann@example.com failures=10 until=2026-01-02T03:04:05.678Z
 *     locked-out connection=1b host=192.0.2.1
 *
 * in this order of fields; as JSON the same fields. `failures` and `of` are those of the network, 0 when it is exempt.
 * `locked-out` is a connection that was refused for what came before it. A name with anything but the usual characters
 * of an address stands in quotes, so that nobody can write a line of his own into it. For fail2ban, which takes the
 * time away first, in a file and in the journal:
 *
 *     failregex = ^\s*(?:\S+ \S+: \S+ )?warning login-failed connection=\S+ host=<HOST> login=
 */

import { type Log, reasonOf } from "../log.ts";
import type { Lockouts } from "../store/lockouts.ts";
import type { Caller } from "./caller.ts";

export interface FailedLogins {
  /** What keeps this caller from signing in: his network, or this login from there. */
  lockedOut(caller: Caller, login?: string): Promise<"network" | "login" | undefined>;
  /** Counts a failure and tells the log. True when the network of the caller is locked now. Never rejects. */
  loginFailed(caller: Caller, login: string): Promise<boolean>;
  /** Never rejects. */
  loginSucceeded(caller: Caller, login: string): Promise<void>;
}

/** A name of thousands of characters is nobody's. */
const MAX_LOGGED = 256;

export function failedLogins(lockouts: Lockouts, maxFailures: number, log: Log): FailedLogins {
  /** Signing in goes on although it cannot be counted: otherwise a full disk would tell wrong passwords from right ones. */
  const attempt = async <T>(caller: Caller, counting: Promise<T>): Promise<T | undefined> => {
    try {
      return await counting;
    } catch (error) {
      const told = reasonOf(error);
      log("error", "login-not-counted", { connection: caller.id, host: caller.host, error: told });
      return undefined;
    }
  };
  return {
    async lockedOut(caller, login) {
      const side = await lockouts.lockedOut(caller.host, login);
      if (side === "network") log("info", "locked-out", { connection: caller.id, host: caller.host });
      return side;
    },
    async loginFailed(caller, typed) {
      const connection = caller.id, { host } = caller, login = typed.slice(0, MAX_LOGGED);
      const failed = await attempt(caller, lockouts.fail(host, typed));
      log("warning", "login-failed", { connection, host, login, failures: failed?.failures ?? 0, of: maxFailures });
      for (const lock of failed?.locks ?? []) {
        const { failures } = lock, until = new Date(lock.until).toISOString();
        if (lock.of === "network") {
          log("warning", "host-locked", { connection, host, network: lock.name, failures, until });
        } else log("warning", "login-locked", { connection, host, login, failures, until });
      }
      return failed?.networkLocked ?? false;
    },
    async loginSucceeded(caller, login) {
      await attempt(caller, lockouts.succeed(caller.host, login));
    },
  };
}
