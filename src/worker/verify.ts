/** Verifies DKIM signatures on a thread of its own. It asks no name server: the keys come with the message. */

import { Buffer } from "node:buffer";
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { serve } from "./serve.ts";

export interface VerifyRequest {
  /** The message; at most five signatures in it. */
  readonly message: Uint8Array;
  /** `selector._domainkey.domain` → its TXT records, or the code of a Node-style DNS error. */
  readonly keys: ReadonlyMap<string, readonly string[] | string>;
}

export interface Signature {
  readonly domain: string;
  readonly selector: string;
  readonly result: string;
  /** Its domain is that of From, or of the same organization. */
  readonly aligned: boolean;
}

interface Verified {
  readonly results: readonly {
    readonly signingDomain?: string;
    readonly selector?: string;
    readonly status: { readonly result: string; readonly aligned?: string | false; readonly underSized?: number };
  }[];
}

if ("WorkerGlobalScope" in globalThis) serve(() => verify);

async function verify({ message, keys }: VerifyRequest): Promise<readonly Signature[]> {
  const resolver = (name: string): Promise<string[][]> => {
    const found = keys.get(name.toLowerCase()) ?? "ENOTFOUND";
    if (typeof found !== "string") return Promise.resolve(found.map((text) => [text]));
    return Promise.reject(Object.assign(new Error(`no key at ${name}`), { code: found }));
  };
  const { results }: Verified = await dkimVerify(
    Buffer.from(message.buffer, message.byteOffset, message.byteLength),
    { resolver, strict: true, minBitLength: 1024 },
  );
  return results.map(({ signingDomain = "", selector = "", status }) => ({
    domain: signingDomain,
    selector,
    // A signature over a part of the body (`l=`) says nothing about the rest.
    result: status.underSized ? "fail" : status.result,
    aligned: Boolean(status.aligned),
  }));
}
