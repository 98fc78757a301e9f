/** Decides what the session asks: who may talk, sign in, send and receive. One for each connection. */

import { formatMailbox, type Mailbox } from "../smtp/address.ts";
import type { RecipientLine, Sender } from "../smtp/command.ts";
import type { Credentials, Exchange, Hello, Question, Transaction } from "../smtp/effect.ts";
import { because, closing, formatReply, isPositive, type Reply, reply } from "../smtp/reply.ts";
import { encodeChallenge } from "../smtp/sasl.ts";
import type { ScramStep } from "../store/scram.ts";
import type { Verified } from "../store/logins.ts";
import type { Decision } from "../store/stories.ts";
import type { Caller } from "./caller.ts";
import type { Host } from "./connection.ts";
import type { FailedLogins } from "./failed_logins.ts";
import type { Accepted, Led } from "./copies.ts";
import type { Intake } from "./intake.ts";
import { refuseRecipient, type Unreachable } from "./recipient_refusals.ts";
import type { Scrutiny } from "./scrutiny.ts";

/** One SCRAM exchange (`store/scram`). */
export interface ScramDialog {
  first(message: string): Promise<ScramStep>;
  final(message: string): ScramStep;
}

export interface PolicyParts extends FailedLogins {
  readonly hostname: string;
  /** The text behind the host name in 220. */
  readonly greeting: string;
  /** Our domains, in the order of the configuration. */
  readonly domains: readonly string[];
  /** What an address of ours leads to, or why it leads nowhere. `isBounce`: for a message with the null sender. */
  resolve(address: Mailbox, isBounce: boolean): Promise<Led | Unreachable>;
  verifyPassword(login: string, password: string): Promise<Verified>;
  scram(mechanism: Exchange["mechanism"], caller: Caller): ScramDialog;
  /** Undefined: the user may not send as this address. */
  sendsAs(login: string, from: Mailbox): Promise<"own" | "alias" | undefined>;
  /** Whether somebody has asked not to get mail of this user any more. */
  hasUnsubscribed(login: string, address: Mailbox): Promise<boolean>;
  /** For `maildemon why`. */
  tell(decision: Decision): void;
}

/** Who guesses has to call again. */
const MAX_FAILED_LOGINS = 3;

const HELLO_OK = reply(250, "2.0.0", "Hello");
const SENDER_OK = reply(250, "2.1.0", "Sender accepted");
const RECIPIENT_OK = reply(250, "2.1.5", "Recipient accepted");
const SIGNED_IN = reply(235, "2.7.0", "Signed in");
// RFC 4954 §6: one text for a wrong password and for a user who does not exist.
const WRONG_CREDENTIALS = reply(535, "5.7.8", "User name or password is wrong");
const LOCKED_OUT = reply(421, "4.7.0", "Too many failed logins from your address: try again later");
const LOGINS_BUSY = reply(454, "4.7.0", "Too many are signing in: try again in a minute");
const MALFORMED = reply(501, "5.5.2", "That is not a SCRAM message");
const UNSUBSCRIBED = reply(550, "5.7.1", "recipient has unsubscribed");
const NO_RELAY = reply(550, "5.7.1", "We take no mail for this domain from strangers");

export class Policy implements Host {
  readonly #parts: PolicyParts;
  readonly #caller: Caller;
  readonly #scrutiny: Scrutiny;
  readonly #intake: Intake;
  /** What the recipients of the present transaction lead to. */
  readonly #targets = new Map<RecipientLine, Led>();
  #hello: Hello | undefined;
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

  ended(protocolErrors: number): void {
    this.#scrutiny.ended(protocolErrors);
  }

  async answer(question: Question): Promise<Reply> {
    const said = await this.#decide(question);
    this.#tell(question, said);
    return said;
  }

  async #decide(question: Question): Promise<Reply> {
    switch (question.about) {
      case "client":
        return await this.#client();
      case "hello":
        this.#hello = question.hello;
        return (await this.#scrutiny.hello(question.hello)) ?? HELLO_OK;
      case "credentials":
        return await this.#credentials(question);
      case "exchange":
        return await this.#exchange(question);
      case "sender":
        return await this.#sender(question.sender, question.hello);
      case "recipient":
        return await this.#recipient(question.recipient, question.transaction.sender);
      case "message":
        return await this.#message(question.transaction, question.hello);
      default:
        return question satisfies never;
    }
  }

  async #client(): Promise<Reply> {
    // Mail from outside costs no look: nobody signs in there.
    if (this.#caller.kind !== "mx" && await this.#parts.lockedOut(this.#caller) !== undefined) return LOCKED_OUT;
    const { refusal, delay } = await this.#scrutiny.arrives();
    return refusal ?? { ...reply(220, "", `${this.#parts.hostname} ${this.#parts.greeting}`), delay };
  }

  /** What was refused, and what was taken; not each step on the way to it, and never a password. */
  #tell(question: Question, said: Reply): void {
    if (question.about === "credentials" || question.about === "exchange") return;
    if (isPositive(said) && question.about !== "message") return;
    const { id, kind, host, user } = this.#caller;
    const transaction = "transaction" in question ? question.transaction : undefined;
    const sender = transaction?.sender ?? ("sender" in question ? question.sender : undefined);
    const recipients = question.about === "recipient" ? [question.recipient] : transaction?.recipients ?? [];
    const queued = isPositive(said) ? /^(?:Queued|Unsubscribed) as (\S+)$/.exec(said.lines[0] ?? "")?.[1] : undefined;
    const reply = formatReply(said).trim(), { rule, found, setting } = said.because ?? {};
    this.#parts.tell({
      connection: id,
      by: kind,
      host,
      user,
      helo: this.#hello?.name,
      from: sender && (sender.path === null ? "" : formatMailbox(sender.path)),
      to: recipients.map((recipient) => addressOf(recipient, this.#firstDomain)),
      id: queued,
      reply,
      steps: [
        ...this.#scrutiny.steps(),
        ...rule === undefined
          ? []
          : [{ check: rule, found: found ?? "", ...(setting !== undefined && { setting }), decides: reply }],
      ],
    });
  }

  get #firstDomain(): string {
    return this.#parts.domains[0] ?? this.#parts.hostname;
  }

  async #credentials({ login, password }: Credentials): Promise<Reply> {
    const locked = await this.#parts.lockedOut(this.#caller, login);
    if (locked === "network") return LOCKED_OUT;
    // A locked login is nobody's: it takes as long as a user who does not exist, and the memory of a right password
    // does not make it shorter.
    const verified = await this.#parts.verifyPassword(locked === "login" ? "" : login, password);
    switch (verified.result) {
      case "right":
        return await this.#signIn(verified.login);
      case "wrong":
        return await this.#refuseLogin(login);
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
      return message === "" ? await this.#signIn(login) : MALFORMED;
    }
    if (first) {
      this.#signingIn = undefined;
      this.#named = (/(?:^|,)n=([^,]*)/.exec(message)?.[1] ?? "").replaceAll("=2C", ",").replaceAll("=3D", "=");
      this.#scram = this.#parts.scram(mechanism, this.#caller);
    }
    const dialog = this.#scram;
    if (dialog === undefined) return MALFORMED;
    // Looked up before the proof, so that a right one takes no longer than a wrong one.
    const locked = await this.#parts.lockedOut(this.#caller, this.#named);
    if (locked === "network") return LOCKED_OUT;
    const step = first ? await dialog.first(message) : dialog.final(message);
    switch (step.next) {
      case "client":
        return reply(334, "", encodeChallenge(step.message));
      case "done":
        // Our own proof would tell that the password was right.
        if (locked === "login") return await this.#refuseLogin(this.#named);
        this.#signingIn = step.login;
        return reply(334, "", encodeChallenge(step.message));
      case "wrong":
        return await this.#refuseLogin(this.#named);
      case "malformed":
        return MALFORMED;
      default:
        return step satisfies never;
    }
  }

  /** The password is right. Meanwhile others may have guessed at the same time. */
  async #signIn(login: string): Promise<Reply> {
    const locked = await this.#parts.lockedOut(this.#caller, login);
    if (locked === "network") return LOCKED_OUT;
    if (locked === "login") return await this.#refuseLogin(login);
    await this.#parts.loginSucceeded(this.#caller, login);
    this.#caller.user = login;
    return SIGNED_IN;
  }

  async #refuseLogin(login: string): Promise<Reply> {
    const lockedOut = await this.#parts.loginFailed(this.#caller, login);
    return ++this.#failedLogins < MAX_FAILED_LOGINS && !lockedOut ? WRONG_CREDENTIALS : closing(WRONG_CREDENTIALS);
  }

  async #sender(sender: Sender, hello: Hello): Promise<Reply> {
    this.#targets.clear();
    const { user } = this.#caller;
    if (user === undefined) return (await this.#scrutiny.sender(sender, hello)) ?? SENDER_OK;
    if (sender.path === null || await this.#parts.sendsAs(user, sender.path) !== undefined) {
      return SENDER_OK;
    }
    const from = formatMailbox(sender.path);
    return because(
      reply(553, "5.7.1", `${from} is not one of your addresses`),
      "sender",
      `${user} may not send as ${from}`,
    );
  }

  async #recipient(recipient: RecipientLine, sender: Sender): Promise<Reply> {
    const { path } = recipient, { user } = this.#caller;
    const mailbox = path === "postmaster" ? { local: path, domain: this.#firstDomain } : path;
    const index = this.#parts.domains.indexOf(mailbox.domain), address = formatMailbox(mailbox);
    if (user !== undefined && await this.#parts.hasUnsubscribed(user, mailbox)) {
      return because(UNSUBSCRIBED, "unsubscribed", `${address} wants no more mail from ${user}`);
    }
    if (index < 0) {
      // The only way out for mail that is not for us: somebody who has signed in.
      if (user === undefined) {
        return because(NO_RELAY, "relay", `${address} is in no domain of ours, and nobody has signed in`, "domains");
      }
      this.#targets.set(recipient, { destinations: [{ target: { to: "remote", address } }], users: [] });
      return RECIPIENT_OK;
    }
    const led = await this.#parts.resolve(mailbox, sender.path === null);
    if (typeof led === "string") {
      if (led === "unknown" || led === "closed" || led === "forged") this.#scrutiny.unknownRecipient();
      return refuseRecipient(led, address, index);
    }
    this.#targets.set(recipient, led);
    return RECIPIENT_OK;
  }

  async #message(transaction: Transaction, hello: Hello): Promise<Reply> {
    const accepted = transaction.recipients.map((recipient): Accepted => ({
      address: addressOf(recipient, this.#firstDomain),
      ...this.#targets.get(recipient) ?? { destinations: [], users: [] },
      ...(recipient.notify && { notify: recipient.notify }),
      ...(recipient.orcpt !== undefined && { orcpt: recipient.orcpt }),
    }));
    return await this.#intake.finish(transaction, hello, accepted);
  }
}

function addressOf({ path }: RecipientLine, firstDomain: string): string {
  return path === "postmaster" ? `postmaster@${firstDomain}` : formatMailbox(path);
}
