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
  /** For a long message, which is in memory as a whole while its signatures are verified. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
  readonly log: Log;
}

/** What a message begins with, how long it is, and how to get all of it. */
export interface Message {
  readonly start: Uint8Array;
  readonly size: number;
  readonly read: () => Promise<Uint8Array>;
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
  async message(message: Message): Promise<Reply | undefined> {
    const spf = this.#spf;
    if (spf === undefined || !wantsSignatures(this.#parts.spf, spf)) return undefined;
    return judgeUnsigned(spf, await this.#survives(message));
  }

  /** Mail that others have forwarded fails SPF and is genuine all the same when its author's signature holds. */
  async #survives({ start, size, read }: Message): Promise<"yes" | "no" | "cannot tell"> {
    const { dns, verify, inTurn } = this.#parts;
    try {
      const isLong = size > start.length;
      const signatures = await checkDkim(start, dns, read, verify, isLong ? inTurn : undefined);
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
