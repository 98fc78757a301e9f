/** Decides what the session asks: who may talk, sign in, send and receive. One for each connection. */

import type { Target } from "../queue/entry.ts";
import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { RecipientLine, Sender } from "../smtp/command.ts";
import type { Credentials, Exchange, Hello, Question, Transaction } from "../smtp/effect.ts";
import { closing, type Reply, reply } from "../smtp/reply.ts";
import { encodeChallenge } from "../smtp/sasl.ts";
import type { ScramStep } from "../store/scram.ts";
import type { Verified } from "../store/logins.ts";
import type { Caller } from "./caller.ts";
import type { Host } from "./connection.ts";
import type { Accepted, Intake, Scrutiny } from "./intake.ts";

/** One SCRAM exchange (`store/scram`). */
export interface ScramDialog {
  first(message: string): Promise<ScramStep>;
  final(message: string): ScramStep;
}

export interface PolicyParts {
  readonly hostname: string;
  /** The text behind the host name in 220. */
  readonly greeting: string;
  isOurs(domain: string): boolean;
  /** Domain of a bare `postmaster`. */
  readonly firstDomain: string;
  /** What an address of ours leads to; undefined when there is no such address. */
  resolve(address: Mailbox): Promise<readonly Target[] | undefined>;
  verifyPassword(login: string, password: string): Promise<Verified>;
  scram(mechanism: Exchange["mechanism"], caller: Caller): ScramDialog;
  maySendAs(login: string, from: Mailbox): Promise<boolean>;
  /** One line of fixed form for each failed login. */
  loginFailed(caller: Caller, login: string): void;
}

/** Who guesses has to call again. */
const MAX_FAILED_LOGINS = 3;

const SENDER_OK = reply(250, "2.1.0", "Sender accepted");
const RECIPIENT_OK = reply(250, "2.1.5", "Recipient accepted");
const SIGNED_IN = reply(235, "2.7.0", "Signed in");
// RFC 4954 §6: one text for a wrong password and for a user who does not exist.
const WRONG_CREDENTIALS = reply(535, "5.7.8", "User name or password is wrong");
const LOGINS_BUSY = reply(454, "4.7.0", "Too many are signing in: try again in a minute");
const MALFORMED = reply(501, "5.5.2", "That is not a SCRAM message");
const UNKNOWN = reply(550, "5.1.1", "No such address here");
const NO_RELAY = reply(550, "5.7.1", "We take no mail for this domain from strangers");

export class Policy implements Host {
  readonly #parts: PolicyParts;
  readonly #caller: Caller;
  readonly #scrutiny: Scrutiny;
  readonly #intake: Intake;
  /** What the recipients of the present transaction lead to. */
  readonly #targets = new Map<RecipientLine, readonly Target[]>();
  #scram: ScramDialog | undefined;
  /** Who begins the exchange, as the client writes it; and the user, once the exchange has proved it. */
  #named = "";
  #signingIn: string | undefined;
  #failedLogins = 0;

  constructor(parts: PolicyParts, caller: Caller, scrutiny: Scrutiny, intake: Intake) {
    this.#parts = parts;
    this.#caller = caller;
    this.#scrutiny = scrutiny;
    this.#intake = intake;
  }

  body(bytes: Uint8Array): void | Promise<void> {
    return this.#intake.body(bytes);
  }

  discard(): void {
    this.#intake.discard();
  }

  async answer(question: Question): Promise<Reply> {
    switch (question.about) {
      case "client":
        return reply(220, "", `${this.#parts.hostname} ${this.#parts.greeting}`);
      case "credentials":
        return await this.#credentials(question);
      case "exchange":
        return await this.#exchange(question);
      case "sender":
        return await this.#sender(question.sender, question.hello);
      case "recipient":
        return await this.#recipient(question.recipient);
      case "message":
        return await this.#message(question.transaction, question.hello);
      default:
        return question satisfies never;
    }
  }

  async #credentials({ login, password }: Credentials): Promise<Reply> {
    const verified = await this.#parts.verifyPassword(login, password);
    switch (verified.result) {
      case "right":
        return this.#signIn(verified.login);
      case "wrong":
        return this.#refuseLogin(login);
      case "later":
        return LOGINS_BUSY;
      default:
        return verified satisfies never;
    }
  }

  async #exchange({ mechanism, first, message }: Exchange): Promise<Reply> {
    if (!first && this.#signingIn !== undefined) {
      const login = this.#signingIn;
      this.#signingIn = undefined;
      // RFC 7677 by way of RFC 4954 §4: the server's proof goes as a challenge, which the client answers with nothing.
      return message === "" ? this.#signIn(login) : MALFORMED;
    }
    if (first) {
      this.#signingIn = undefined;
      this.#named = /(?:^|,)n=([^,]*)/.exec(message)?.[1] ?? "";
      this.#scram = this.#parts.scram(mechanism, this.#caller);
    }
    const dialog = this.#scram;
    if (dialog === undefined) return MALFORMED;
    const step = first ? await dialog.first(message) : dialog.final(message);
    switch (step.next) {
      case "client":
        return reply(334, "", encodeChallenge(step.message));
      case "done":
        this.#signingIn = step.login;
        return reply(334, "", encodeChallenge(step.message));
      case "wrong":
        return this.#refuseLogin(this.#named);
      case "malformed":
        return MALFORMED;
      default:
        return step satisfies never;
    }
  }

  #signIn(login: string): Reply {
    this.#caller.user = login;
    return SIGNED_IN;
  }

  #refuseLogin(login: string): Reply {
    this.#parts.loginFailed(this.#caller, login);
    return ++this.#failedLogins < MAX_FAILED_LOGINS ? WRONG_CREDENTIALS : closing(WRONG_CREDENTIALS);
  }

  async #sender(sender: Sender, hello: Hello): Promise<Reply> {
    this.#targets.clear();
    const { user } = this.#caller;
    if (user === undefined) return (await this.#scrutiny.sender(sender, hello)) ?? SENDER_OK;
    if (sender.path === null || await this.#parts.maySendAs(user, sender.path)) return SENDER_OK;
    return reply(553, "5.7.1", `${formatMailbox(sender.path)} is not one of your addresses`);
  }

  async #recipient(recipient: RecipientLine): Promise<Reply> {
    const { path } = recipient;
    const mailbox = path === "postmaster" ? { local: path, domain: this.#parts.firstDomain } : path;
    if (!this.#parts.isOurs(mailbox.domain)) {
      // The only way out for mail that is not for us: somebody who has signed in.
      if (this.#caller.user === undefined) return NO_RELAY;
      this.#targets.set(recipient, [{ to: "remote", address: formatMailbox(mailbox) }]);
      return RECIPIENT_OK;
    }
    const targets = await this.#parts.resolve(mailbox);
    if (targets === undefined) return UNKNOWN;
    this.#targets.set(recipient, targets);
    return RECIPIENT_OK;
  }

  async #message(transaction: Transaction, hello: Hello): Promise<Reply> {
    const accepted = transaction.recipients.map((recipient): Accepted => ({
      address: addressOf(recipient, this.#parts.firstDomain),
      targets: this.#targets.get(recipient) ?? [],
      ...(recipient.notify && { notify: recipient.notify }),
      ...(recipient.orcpt !== undefined && { orcpt: recipient.orcpt }),
    }));
    return await this.#intake.finish(transaction, hello, accepted);
  }
}

function addressOf({ path }: RecipientLine, firstDomain: string): string {
  return path === "postmaster" ? `postmaster@${firstDomain}` : formatMailbox(path);
}
