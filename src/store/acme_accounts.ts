/** By which key a certificate authority knows us. All servers of a store are one account there. */

import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import { commit, KEY } from "./kv.ts";

const generate = promisify(generateKeyPair);

/**
 * The private key of our account with the authority of this directory, P-256 in PEM (PKCS#8); made when it is first
 * asked for. Rejects when the store cannot be read or written.
 */
export async function acmeAccountKey(kv: Deno.Kv, directory: string): Promise<string> {
  for (;;) {
    const found = await kv.get<string>(KEY.acmeAccount(directory));
    if (found.value !== null) return found.value;
    const { privateKey } = await generate("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    // With the check, of two servers that start together the second one takes over what the first one chose.
    if (await commit(kv.atomic().check(found).set(KEY.acmeAccount(directory), pem))) return pem;
  }
}
