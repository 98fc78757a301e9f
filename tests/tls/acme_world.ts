/** A server's certificate of ACME in tests: what it needs, what it did, and a clock that can be set. */

import { X509Certificate } from "node:crypto";
import type { Fields, Level } from "../../src/log.ts";
import { acmeAccountKey } from "../../src/store/acme_accounts.ts";
import { openKv } from "../../src/store/kv.ts";
import { Acme, type Pace } from "../../src/tls/acme.ts";
import type { AcmeSettings, ChallengeType } from "../../src/tls/acme_settings.ts";
import type { KeyPair } from "../../src/tls/certificates.ts";
import { until } from "../support/letters.ts";
import type { Pebble } from "../support/pebble.ts";

/** As it is, but in a hurry. */
export const HURRY: Pace = { first: 200, longest: 2_000, look: 20, order: 20_000 };

export class World implements AsyncDisposable {
  readonly shown: KeyPair[] = [];
  readonly events: { readonly level: Level; readonly event: string; readonly fields: Fields }[] = [];
  /** Milliseconds by which the clock on the wall is wrong. */
  wrong = 0;
  readonly #open: Acme[] = [];
  private constructor(readonly store: string, readonly kv: Deno.Kv) {}

  static async make(): Promise<World> {
    const store = await Deno.makeTempDir();
    return new World(store, await openKv({ store }));
  }

  /** Like a start of the server. */
  async start(settings: AcmeSettings, pace: Pace = HURRY, kv = this.kv): Promise<Acme> {
    const acme = await Acme.open(settings, {
      accountKey: (directory) => acmeAccountKey(kv, directory),
      renewed: (pair) => this.shown.push(pair),
      log: (level, event, fields = {}) => this.events.push({ level, event, fields }),
      now: () => Date.now() + this.wrong,
      pace,
    });
    this.#open.push(acme);
    acme.start();
    return acme;
  }

  async hasShown(count: number): Promise<X509Certificate> {
    await until(() => this.shown.length >= count, `certificate ${count}`).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(this.events)}`);
    });
    return new X509Certificate(this.shown[count - 1]!.certificate);
  }

  /** What the log says of the order that fails as the first, second, … */
  async hasFailed(count = 1): Promise<string> {
    const failed = () => this.events.filter(({ event }) => event === "certificate-not-renewed");
    await until(() => failed().length >= count, `failure ${count}`);
    return String(failed()[count - 1]!.fields["error"]);
  }

  settings(pebble: Pebble, challenge: ChallengeType = "http-01", names = ["mail.ours.test"]): AcmeSettings {
    return {
      store: this.store,
      names,
      directory: pebble.directory,
      directoryCa: pebble.authority,
      challenge,
      listen: { hostname: "127.0.0.1", port: challenge === "http-01" ? pebble.httpPort : pebble.tlsPort },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const acme of this.#open) await acme.close();
    this.kv.close();
    await Deno.remove(this.store, { recursive: true });
  }
}
