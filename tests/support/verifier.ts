/** Signatures looked at as the server does it: keys from a name server, the verifying on another thread. */

import { checkDkim } from "../../src/check/dkim.ts";
import type { Dns } from "../../src/dns/records.ts";
import { WORKER_POOL, WorkerPool } from "../../src/worker/pool.ts";
import type { Signature, VerifyRequest } from "../../src/worker/verify.ts";

export type Verify = (message: string | Uint8Array, dns: Dns) => Promise<readonly Signature[]>;

/** `deadline` in milliseconds for one message on its thread. */
export async function withVerifier(
  scene: (verify: Verify) => Promise<void>,
  deadline: number = WORKER_POOL.deadline,
): Promise<void> {
  const pool = new WorkerPool<null, VerifyRequest, readonly Signature[]>(
    () => new Worker(new URL("../../src/worker/verify.ts", import.meta.url), { type: "module" }),
    null,
    { ...WORKER_POOL, workers: 1, deadline },
  );
  try {
    await scene((message, dns) => {
      const bytes = typeof message === "string" ? new TextEncoder().encode(message) : message;
      return checkDkim(bytes, dns, () => Promise.resolve(bytes), (request) => pool.run(request));
    });
  } finally {
    pool.close();
  }
}
