/** What a session wants done, and what it wants to know. The words between `smtp/session` and `accept/connection`. */

import type { RecipientLine, Sender } from "./command.ts";
import type { Reply } from "./reply.ts";
import type { Mechanism } from "./sasl.ts";

export type Effect =
  | { readonly do: "send"; readonly reply: Reply }
  /** The session reads no more until answered. */
  | { readonly do: "ask"; readonly question: Question }
  /** A piece of the message, unstuffed. The bytes are a view and may be overwritten after this effect. */
  | { readonly do: "body"; readonly bytes: Uint8Array }
  /** What came of the message so far is to be thrown away. */
  | { readonly do: "discard" }
  /** Begin the handshake now; then call `secured`. */
  | { readonly do: "startTls" }
  | { readonly do: "close" };

/** The answer to each is a reply: the one that the peer gets. */
export type Question =
  /** May this peer talk to us? The answer is the greeting, or the refusal. */
  | { readonly about: "client" }
  /** The answer is 250, for which the session says what it offers, or a refusal. */
  | { readonly about: "hello"; readonly hello: Hello }
  | Credentials
  | Exchange
  | { readonly about: "sender"; readonly sender: Sender; readonly hello: Hello }
  | { readonly about: "recipient"; readonly recipient: RecipientLine; readonly transaction: Transaction }
  /** The final dot: the whole body has been handed over. The answer says whether it is ours now. */
  | { readonly about: "message"; readonly transaction: Transaction; readonly hello: Hello };

/** PLAIN and LOGIN. 235 when they are right. */
export interface Credentials {
  readonly about: "credentials";
  readonly login: string;
  readonly password: string;
}

/** One message of a SCRAM exchange. 334 carries the next challenge, 235 ends it well. */
export interface Exchange {
  readonly about: "exchange";
  readonly mechanism: ScramMechanism;
  /** It opens the exchange. */
  readonly first: boolean;
  readonly message: string;
}

export type ScramMechanism = Exclude<Mechanism, "PLAIN" | "LOGIN">;

export interface Hello {
  readonly name: string;
  /** EHLO rather than HELO. */
  readonly extended: boolean;
}

export interface Transaction {
  readonly sender: Sender;
  readonly recipients: readonly RecipientLine[];
}
