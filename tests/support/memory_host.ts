/** The smallest mail server behind the protocol: two people, one domain, messages in an array. */

import type { Host } from "../../src/accept/connection.ts";
import { formatMailbox } from "../../src/smtp/address.ts";
import type { Question } from "../../src/smtp/effect.ts";
import { type Reply, reply } from "../../src/smtp/reply.ts";
import { encodeChallenge } from "../../src/smtp/sasl.ts";
import { joined, textOf } from "./every_cut.ts";

export interface Stored {
  /** Empty for the null sender. */
  readonly sender: string;
  readonly recipients: readonly string[];
  /** One character for each byte. */
  readonly text: string;
}

const DOMAIN = "dev.test";
const PEOPLE = new Map([["ann@dev.test", "maildemon"], ["bob@dev.test", "maildemon"]]);
const NO_LOGIN = reply(535, "5.7.8", "User name or password is wrong");

export class MemoryHost implements Host {
  readonly stored: Stored[] = [];
  /** Pieces of the message that is arriving. */
  pieces: Uint8Array[] = [];
  /** Octets in them. */
  held = 0;
  user: string | undefined;
  #signingIn = "";

  answer(question: Question): Promise<Reply> {
    return Promise.resolve(this.decide(question));
  }

  decide(question: Question): Reply {
    switch (question.about) {
      case "client":
        return reply(220, "", `mail.${DOMAIN} ESMTP`);
      case "hello":
        return reply(250, "2.0.0", "Hello");
      case "credentials":
        return this.#signIn(question.login, PEOPLE.get(question.login) === question.password);
      case "exchange":
        return this.#exchange(question.message, question.first);
      case "sender": {
        const path = question.sender.path;
        if (this.user === undefined || path === null || formatMailbox(path) === this.user) {
          return reply(250, "2.1.0", "Sender accepted");
        }
        return reply(553, "5.7.1", "That is not you");
      }
      case "recipient": {
        const path = question.recipient.path;
        if (path === "postmaster") return reply(250, "2.1.5", "Recipient accepted");
        if (path.domain !== DOMAIN) {
          return this.user === undefined
            ? reply(550, "5.7.1", "No mail for others from strangers")
            : reply(250, "2.1.5", "Recipient accepted");
        }
        const known = path.local === "postmaster" || PEOPLE.has(formatMailbox(path).toLowerCase());
        return known ? reply(250, "2.1.5", "Recipient accepted") : reply(550, "5.1.1", "No such address here");
      }
      case "message": {
        const { sender, recipients } = question.transaction;
        this.stored.push({
          sender: sender.path === null ? "" : formatMailbox(sender.path),
          recipients: recipients.map(({ path }) => path === "postmaster" ? path : formatMailbox(path)),
          text: textOf(joined(this.pieces)),
        });
        this.discard();
        return reply(250, "2.0.0", `Queued as ${this.stored.length}`);
      }
      default:
        return question satisfies never;
    }
  }

  body(bytes: Uint8Array): void {
    // The bytes are a view of a buffer that is used again.
    this.pieces.push(bytes.slice());
    this.held += bytes.length;
  }

  discard(): void {
    this.pieces = [];
    this.held = 0;
  }

  /** The steps of SCRAM without its arithmetic: the proof is the word `right`. */
  #exchange(message: string, first: boolean): Reply {
    if (first) {
      this.#signingIn = /n=([^,]*)/.exec(message)?.[1] ?? "";
      return reply(334, "", encodeChallenge("r=nonce"));
    }
    return message === "" ? this.#signIn(this.#signingIn, true) : this.#proof(message);
  }

  #proof(message: string): Reply {
    return message === "p=right" && PEOPLE.has(this.#signingIn) ? reply(334, "", encodeChallenge("v=proof")) : NO_LOGIN;
  }

  #signIn(login: string, right: boolean): Reply {
    if (!right) return NO_LOGIN;
    this.user = login;
    return reply(235, "2.7.0", "Signed in");
  }
}
