/** Who is on the line: what is known of one connection, from its first byte to its last. */

import type { TlsFacts } from "./stream.ts";

export type ListenerKind = "mx" | "submission" | "submissions";

export interface Caller {
  /** Names the connection in the log. */
  readonly id: string;
  /** `command`: `maildemon send` on this machine. */
  readonly kind: ListenerKind | "command";
  /** Plain form of the address (`smtp/network`), port apart. */
  readonly host: string;
  readonly port: number;
  /** Set when TLS has begun. */
  tls?: TlsFacts;
  /** Login of the user, once signed in. */
  user?: string;
}
