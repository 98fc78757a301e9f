/**
 * The certificates that we show: those of the files in [tls], the one that [tls.acme] has ordered, and as long as there
 * is none of them one of our own, which nobody trusts. A new one is in the next handshake; sessions go on.
 */

import type { ShownTo } from "./accept/stream.ts";
import type { Certificate, Config } from "./config.ts";
import type { Log } from "./log.ts";
import { Acme, type AcmeParts, type AcmeState } from "./tls/acme.ts";
import { acmeSettings } from "./tls/acme_settings.ts";
import { Certificates, type KeyPair } from "./tls/certificates.ts";
import { selfSigned } from "./tls/self_signed.ts";

export interface PresentingParts {
  readonly accountKey: AcmeParts["accountKey"];
  readonly log: Log;
}

/** All that is shown, from one version of the configuration. */
interface Shown {
  readonly files: readonly KeyPair[];
  readonly acme: Acme | undefined;
  /** Our own: in the place of one that is still to come. */
  readonly own: KeyPair | undefined;
  readonly certificates: Certificates | undefined;
}

export interface PreparedShow {
  /** It is shown from now on, and what is to be ordered is ordered. */
  use(): void;
}

export class Presenting {
  readonly #parts: PresentingParts;
  #shown: Shown = { files: [], acme: undefined, own: undefined, certificates: undefined };
  /** What was shown last, for sessions of a configuration that had TLS when this one has none. */
  #last: Certificates | undefined;

  /** Rejects with a sentence when a certificate cannot be used. Nothing is ordered before `use`. */
  static async open(config: Config, parts: PresentingParts): Promise<[Presenting, PreparedShow]> {
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
    const { own, certificates } = this.#shown;
    if (certificates === undefined) return undefined;
    return own === undefined ? Math.min(...certificates.validity().map(({ notAfter }) => notAfter)) : 0;
  }

  /** How the order stands; undefined without [tls.acme]. */
  ordered(): AcmeState | undefined {
    return this.#shown.acme?.state();
  }

  /** Rejects with a sentence when a certificate cannot be used; what is shown stays as it is until `use`. */
  async prepare(config: Config): Promise<PreparedShow> {
    const files = config.certificates.map(pairOf), before = this.#shown.acme, acme = await this.#orders(config);
    const next = await this.#show(files, acme, config.hostname);
    return {
      use: () => {
        this.#take(next);
        if (acme === before) return acme?.hurry();
        // One order at a time in a process: the library for it keeps what it knows in one place.
        const ended = before?.close() ?? Promise.resolve();
        ended.catch(() => {}).then(() => acme?.start());
      },
    };
  }

  /** Shows these files from the next handshake on. Throws, and goes on with the others, when one cannot be used. */
  renew(certificates: readonly Certificate[]): void {
    const next = { ...this.#shown, files: certificates.map(pairOf) };
    this.#take({ ...next, certificates: certificatesOf(next) });
  }

  async close(): Promise<void> {
    await this.#shown.acme?.close();
  }

  /** Who orders goes on when its settings are the same. Nothing is ordered before it is started. */
  async #orders(config: Config): Promise<Acme | undefined> {
    const settings = acmeSettings(config), before = this.#shown.acme, { accountKey, log } = this.#parts;
    if (settings === undefined || before?.isFor(settings)) return settings && before;
    return await Acme.open(settings, { accountKey, log, renewed: (pair) => this.#renewed(pair) });
  }

  async #show(files: readonly KeyPair[], acme: Acme | undefined, hostname: string): Promise<Shown> {
    const isMissing = files.length === 0 && acme !== undefined && acme.current === undefined;
    const own = isMissing ? this.#shown.own ?? await selfSigned([hostname]) : undefined;
    return { files, acme, own, certificates: certificatesOf({ files, acme, own }) };
  }

  #renewed(pair: KeyPair): void {
    const { files } = this.#shown;
    this.#take({ ...this.#shown, own: undefined, certificates: new Certificates([...files, pair]) });
  }

  #take(shown: Shown): void {
    this.#shown = shown;
    this.#last = shown.certificates ?? this.#last;
    if (shown.own !== undefined) {
      const means = "one of our own is shown, which nobody trusts, until the first one is there";
      this.#parts.log("warning", "certificate-missing", { means });
    }
  }
}

function certificatesOf({ files, acme, own }: Omit<Shown, "certificates">): Certificates | undefined {
  const all = [...files, ...acme?.current ? [acme.current] : [], ...own ? [own] : []];
  return all.length > 0 ? new Certificates(all) : undefined;
}

function pairOf({ chain, key }: Certificate): KeyPair {
  return { certificate: chain, key };
}
