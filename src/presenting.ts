/** The certificates that we show: those of the files in [tls]. A new one is in the next handshake; sessions go on. */

import type { ShownTo } from "./accept/stream.ts";
import type { Certificate, Config } from "./config.ts";
import { Certificates, type KeyPair } from "./tls/certificates.ts";

export class Presenting {
  #certificates: Certificates | undefined;

  /** Throws when a certificate cannot be used. */
  constructor({ certificates }: Pick<Config, "certificates">) {
    if (certificates.length > 0) this.#certificates = new Certificates(certificates.map(pairOf));
  }

  /** For one handshake: always the current one. Throws when there is none. */
  readonly shownTo: ShownTo = (name) => {
    if (this.#certificates === undefined) throw new Error("there is no certificate");
    return this.#certificates.shownTo(name);
  };

  validity(): ReturnType<Certificates["validity"]> {
    return this.#certificates?.validity() ?? [];
  }

  /** From the next handshake on what the other one shows. */
  takeOver(other: Presenting): void {
    // A session that began with TLS may still ask for it when the configuration knows of none any more.
    this.#certificates = other.#certificates ?? this.#certificates;
  }
}

function pairOf({ chain, key }: Certificate): KeyPair {
  return { certificate: chain, key };
}
