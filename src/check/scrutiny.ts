/** One connection from outside under scrutiny: what was found at MAIL is remembered until the end of the message. */

import type { Dns } from "../dns/records.ts";
import type { Log } from "../log.ts";
import { formatMailbox } from "../smtp/address.ts";
import type { Sender } from "../smtp/command.ts";
import type { Hello } from "../smtp/effect.ts";
import type { Reply } from "../smtp/reply.ts";
import type { Signature, VerifyRequest } from "../worker/verify.ts";
import { checkDkim, checkSpf, type SpfFinding } from "./authenticity.ts";
import { judgeSender, judgeUnsigned, type SpfSetting, wantsSignatures } from "./verdict.ts";

export interface ScrutinyParts {
  readonly spf: SpfSetting;
  /** Our name. */
  readonly hostname: string;
  readonly dns: Dns;
  /** Verifies signatures on another thread. */
  readonly verify: (request: VerifyRequest) => Promise<readonly Signature[]>;
  readonly log: Log;
}

export class Scrutiny {
  readonly #parts: ScrutinyParts;
  readonly #peer: { readonly id: string; readonly host: string };
  #spf: SpfFinding | undefined;

  constructor(parts: ScrutinyParts, peer: { readonly id: string; readonly host: string }) {
    this.#parts = parts;
    this.#peer = peer;
  }

  /** At MAIL. Undefined: go on. */
  async sender({ path }: Sender, hello: Hello): Promise<Reply | undefined> {
    this.#spf = undefined;
    if (this.#parts.spf === "off") return undefined;
    const sender = path === null ? "" : formatMailbox(path);
    this.#spf = await checkSpf(
      { host: this.#peer.host, hello: hello.name, sender },
      this.#parts.dns,
      this.#parts.hostname,
    );
    const { result, domain } = this.#spf;
    this.#parts.log("info", "spf-checked", { connection: this.#peer.id, host: this.#peer.host, domain, result });
    return judgeSender(this.#parts.spf, this.#spf);
  }

  /** At the end of the message, which is read only when it has to be. */
  async message(read: () => Promise<Uint8Array>): Promise<Reply | undefined> {
    const spf = this.#spf;
    if (spf === undefined || !wantsSignatures(this.#parts.spf, spf)) return undefined;
    return judgeUnsigned(spf, await this.#survives(read));
  }

  /** Mail that others have forwarded fails SPF and is genuine all the same when its author's signature holds. */
  async #survives(read: () => Promise<Uint8Array>): Promise<"yes" | "no" | "cannot tell"> {
    try {
      const signatures = await checkDkim(await read(), this.#parts.dns, this.#parts.verify);
      const aligned = signatures.filter(({ aligned }) => aligned);
      for (const { domain, result } of signatures) {
        this.#parts.log("info", "dkim-checked", { connection: this.#peer.id, host: this.#peer.host, domain, result });
      }
      if (aligned.some(({ result }) => result === "pass")) return "yes";
      return aligned.some(({ result }) => result === "temperror") ? "cannot tell" : "no";
    } catch (error) {
      this.#parts.log("error", "dkim-check-failed", { connection: this.#peer.id, error: String(error) });
      return "cannot tell";
    }
  }
}
