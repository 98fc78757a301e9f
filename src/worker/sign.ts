/** The thread on which messages are signed. The keys are read once, when it starts. */

import { type DkimKey, prepareKey, signatureFields, type SigningKey } from "../send/dkim_signature.ts";
import type { SignRequest } from "../send/sign.ts";
import { serve } from "./serve.ts";

serve((keys: readonly DkimKey[]) => {
  const byDomain = new Map<string, SigningKey[]>();
  for (const key of keys.map(prepareKey)) {
    const known = byDomain.get(key.domain);
    if (known === undefined) byDomain.set(key.domain, [key]);
    else known.push(key);
  }
  return ({ domain, message, now }: SignRequest) => signatureFields(message, byDomain.get(domain) ?? [], now);
});
