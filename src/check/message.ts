/** A message from outside, as those see it who look at it. */

import type { Header } from "../smtp/headers.ts";

/** What a message begins with, how long it is, and how to get all of it. */
export interface Message {
  readonly id: string;
  readonly start: Uint8Array;
  readonly header: Header;
  readonly size: number;
  readonly read: () => Promise<Uint8Array>;
  /** Our Received line. */
  readonly received: string;
  readonly sender: string;
  readonly hello: string;
  readonly recipients: readonly { readonly address: string; readonly limits: readonly SpamLimit[] }[];
  /** It will be sent on to others, if it is taken. */
  readonly isForwarded: boolean;
}

/** Of one place a message gets to. */
export interface SpamLimit {
  readonly limit: number;
  /** Spam of one host above this number bans it. */
  readonly times: number;
}
