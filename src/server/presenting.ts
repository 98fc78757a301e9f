/**
 * The certificates that we show: those of the files in [tls], the one that [tls.acme] has ordered, and as long as there
 * is none of them one of our own, which nobody trusts. A new one is in the next handshake; sessions go on.
 */

import type { ShownTo } from "../accept/stream.ts";
import type { Certificate, Config } from "../config.ts";
import type { Log } from "../log.ts";
import { Acme, type AcmeParts, type AcmeState } from "../tls/acme.ts";
import { acmeSettings } from "../tls/acme_settings.ts";
import { Certificates, type KeyPair } from "../tls/certificates.ts";
import { selfSigned } from "../tls/self_signed.ts";
import type { Prepared } from "./prepared.ts";

export interface PresentingParts {
  readonly accountKey: AcmeParts["accountKey"];
  readonly log: Log;
}

/** All that is shown, from one version of the configuration. */
interface Shown {
  readonly files: readonly KeyPair[];
  readonly acme: Acme | undefined;
  /** In the place of one that is still to come: what an order with other settings has brought, else one of our own. */
  readonly before: KeyPair | undefined;
  readonly own: KeyPair | undefined;
}

export class Presenting {
  readonly #parts: PresentingParts;
  #shown: Shown = { files: [], acme: undefined, before: undefined, own: undefined };
  #certificates: Certificates | undefined;
  /** What was shown last, for sessions of a configuration that had TLS when this one has none. */
  #last: Certificates | undefined;
  /** Settles when nobody orders any more whose settings have changed. */
  #ended: Promise<unknown> = Promise.resolve();

  /** Rejects with a sentence when a certificate cannot be used. Nothing is ordered before `use`. */
  static async open(config: Config, parts: PresentingParts): Promise<[Presenting, Prepared]> {
    const presenting = new Presenting(parts);
    return [presenting, await presenting.prepare(config)];
  }

  private constructor(parts: PresentingParts) {
    this.#parts = parts;
  }

  /** Something is shown: TLS can be had. */
  static isPossible({ certificates, tls }: Config): boolean {
    return certificates.length > 0 || tls.acme !== undefined;
  }

  /** For one handshake: always the current one. Throws when there is none. */
  readonly shownTo: ShownTo = (name) => {
    if (this.#last === undefined) throw new Error("there is no certificate");
    return this.#last.shownTo(name);
  };

  /** Milliseconds since 1970 when the first of them ends; 0 when there is only one of our own, undefined without TLS. */
  endsAt(): number | undefined {
    return this.#shown.own === undefined ? this.#certificates?.endsAt() : 0;
  }

  /** How the order stands; undefined without [tls.acme]. */
  ordered(): AcmeState | undefined {
    return this.#shown.acme?.state();
  }

  /** Rejects with a sentence when a certificate cannot be used; what is shown stays as it is until `use`. */
  async prepare(config: Config): Promise<Prepared> {
    const files = config.certificates.map(pairOf), before = this.#shown.acme, acme = await this.#orders(config);
    const next = await this.#show(files, acme, config.hostname);
    // What cannot be used is found out here, where nothing has changed yet.
    certificatesOf(next);
    return {
      use: () => {
        this.#take(next);
        if (this.#shown.own !== undefined) {
          const means = "one of our own is shown, which nobody trusts, until the first one is there";
          this.#parts.log("warning", "certificate-missing", { means });
        }
        if (acme === before) return acme?.hurry();
        // One order at a time in a process: the library for it keeps what it knows in one place.
        this.#ended = Promise.allSettled([this.#ended, before?.close()]).then(() => acme?.start());
      },
      cancel: () => {},
    };
  }

  /** Shows these files from the next handshake on. Throws, and goes on with the others, when one cannot be used. */
  renew(certificates: readonly Certificate[]): void {
    this.#take({ ...this.#shown, files: certificates.map(pairOf) });
  }

  async close(): Promise<void> {
    await Promise.all([this.#ended, this.#shown.acme?.close()]);
  }

  /** Who orders goes on when its settings are the same. Nothing is ordered before it is started. */
  async #orders(config: Config): Promise<Acme | undefined> {
    const settings = acmeSettings(config), before = this.#shown.acme, { accountKey, log } = this.#parts;
    if (settings === undefined || before?.isFor(settings)) return settings && before;
    // What an order brings that has been given up meanwhile is on disk, and not shown.
    return await Acme.open(settings, { accountKey, log, renewed: () => this.#take(this.#shown) });
  }

  async #show(files: readonly KeyPair[], acme: Acme | undefined, hostname: string): Promise<Shown> {
    if (acme === undefined || acme.current !== undefined) return { files, acme, before: undefined, own: undefined };
    const before = this.#shown.acme?.current ?? this.#shown.before, isMissing = files.length === 0 && !before;
    return { files, acme, before, own: isMissing ? this.#shown.own ?? await selfSigned([hostname]) : undefined };
  }

  /** Throws, and changes nothing, when a certificate cannot be used. */
  #take(shown: Shown): void {
    // The order may have ended since this was prepared.
    const next = shown.acme?.current ? { ...shown, before: undefined, own: undefined } : shown;
    this.#certificates = certificatesOf(next);
    this.#last = this.#certificates ?? this.#last;
    this.#shown = next;
  }
}

function certificatesOf({ files, acme, before, own }: Shown): Certificates | undefined {
  const all = [...files, acme?.current ?? before ?? own].filter((pair) => pair !== undefined);
  return all.length > 0 ? new Certificates(all) : undefined;
}

function pairOf({ chain, key }: Certificate): KeyPair {
  return { certificate: chain, key };
}
