/** From server to server until one has said something about the message. */

import type { Job, Outcome, RemoteReply } from "../queue/entry.ts";
import { checkContent, type Contents } from "./content_check.ts";
import { Refusal } from "./connect.ts";
import { Conversation, type ConversationSettings, type Tls } from "./conversation.ts";
import { requestOf, successOf } from "./dsn.ts";
import { Families } from "./families.ts";
import { isLoopback } from "./network.ts";
import { POOL, Pool, type PoolSettings } from "./pool.ts";
import { localReply, outcomes, remarked, resultOf } from "./remote_reply.ts";
import type { Server } from "./route.ts";
import { TIMEOUTS } from "./steps.ts";
import type { Transaction, Verdict } from "./transaction.ts";

export type RelaySettings = ConversationSettings & PoolSettings;

export const RELAY: Omit<RelaySettings, "hostname"> = { timeouts: TIMEOUTS, ...POOL };

// RFC 5321 §4.5.3.1.8: every server takes 100; with more, many refuse the rest for now.
const RECIPIENTS_EACH = 100;
// All of them silent is a quarter of an hour with 30 s for each.
const MAX_ATTEMPTS = 30;

export class Relay {
  readonly #settings: RelaySettings;
  readonly #pool: Pool;
  readonly #families = new Families();

  constructor(settings: RelaySettings) {
    this.#settings = settings;
    this.#pool = new Pool(settings);
  }

  /** One outcome for each of these recipients, all of which these servers serve. Rejects when the content cannot be read. */
  async deliver(job: Job, recipients: readonly number[], servers: readonly Server[]): Promise<Outcome[]> {
    const contents = await checkContent(job.content);
    const reason = unsendable(contents);
    if (reason !== undefined) return outcomes(recipients, reason);
    const writable = recipients.filter((recipient) => isWritable(addressOf(job, recipient)));
    const done = outcomes(
      recipients.filter((recipient) => !writable.includes(recipient)),
      localReply(553, "5.1.3", "the address cannot be written in SMTP"),
    );
    if (!isWritable(job.envelope.sender)) {
      return [...done, ...outcomes(writable, localReply(553, "5.1.7", "the sender cannot be written in SMTP"))];
    }
    for (let at = 0; at < writable.length; at += RECIPIENTS_EACH) {
      const some = await this.#offer(job, writable.slice(at, at + RECIPIENTS_EACH), contents, servers);
      done.push(...some);
      if (some.some((outcome) => outcome.unreachable)) {
        const rest = writable.slice(at + RECIPIENTS_EACH), [first] = some;
        if (first !== undefined) done.push(...outcomes(rest, first.reply));
        break;
      }
    }
    return done;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #offer(
    job: Job,
    recipients: readonly number[],
    contents: Contents,
    servers: readonly Server[],
  ): Promise<Outcome[]> {
    const refusals: Refusal[] = [];
    for await (const [server, conversation, remark] of this.#conversations(servers, refusals)) {
      const impossible = beyond(server, conversation, job, recipients, contents);
      if (impossible !== undefined) {
        this.#pool.put(server, conversation);
        return outcomes(recipients, impossible);
      }
      const { verdicts, untouched } = await conversation.send(
        transactionOf(job, recipients, contents, server, conversation),
      );
      const [first] = verdicts;
      const isOurAddress = first !== undefined && verdicts.every(({ delivered }) => !delivered) &&
        this.#families.learn(first.reply, conversation.address, servers);
      // Nothing else will be taken from it either.
      if (isOurAddress) this.#pool.leave(conversation);
      else this.#pool.put(server, conversation);
      if (!isOurAddress && !untouched || first === undefined) {
        return outcomesOf(job, recipients, verdicts, { remark, dsn: conversation.offers.has("DSN") });
      }
      refusals.push(new Refusal(first.reply, "MAIL", true));
    }
    return outcomesOfNobody(recipients, refusals);
  }

  /** Open connections to these servers, best first; what could not be opened is noted. The taker owns each of them. */
  async *#conversations(
    servers: readonly Server[],
    refusals: Refusal[],
  ): AsyncGenerator<[Server, Conversation, string]> {
    let attempts = 0;
    const best = servers[0]?.preference;
    const known = (server: Server) => server.preference === best && this.#pool.has(server);
    for (const server of [...servers.filter(known), ...servers.filter((server) => !known(server))]) {
      // A connection that died while it waited says nothing about the message or the server.
      for (let idle = this.#pool.take(server); idle !== undefined; idle = this.#pool.take(server)) {
        const before = refusals.length;
        yield [server, idle, ""];
        refusals.length = before;
      }
      for (const address of this.#families.inOrder(server.addresses)) {
        if (attempts++ === MAX_ATTEMPTS) return;
        try {
          yield await this.#open(server, address);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          this.#families.learn(error.reply, address, servers);
          refusals.push(error);
        }
      }
    }
  }

  async #open(server: Server, address: string): Promise<[Server, Conversation, string]> {
    const tls = tlsFor(server, address);
    try {
      return [server, await Conversation.open(server, address, tls, this.#settings), ""];
    } catch (error) {
      // RFC 7435: opportunistic means that broken TLS is no worse than none.
      if (!(error instanceof Refusal) || error.step !== "handshake" || tls === "required") throw error;
      const conversation = await Conversation.open(server, address, "never", this.#settings);
      return [server, conversation, `in clear, since TLS failed: ${error.reply.text}`];
    }
  }
}

function tlsFor({ credentials }: Server, address: string): Tls {
  if (address.startsWith("/")) return "never"; // Nobody else is on that line.
  return credentials !== undefined && !isLoopback(address) ? "required" : "if offered";
}

/** Nobody took part: the most telling refusal, and whether a server was there at all. */
function outcomesOfNobody(recipients: readonly number[], refusals: readonly Refusal[]): Outcome[] {
  const [first] = refusals;
  if (first === undefined) return outcomes(recipients, localReply(451, "4.4.1", "no server to connect to"));
  // RFC 7504 §4: one server that takes no mail does not speak for the others. Only when all say never, it is never.
  const pending = refusals.filter(({ reply }) => resultOf(reply) === "later");
  const telling = pending.find(({ said }) => said) ?? pending[0] ?? first;
  const unreachable = refusals.every(({ step, said }) => step === "connect" || (step === "greeting" && !said));
  return outcomes(recipients, telling.reply).map((outcome) => unreachable ? { ...outcome, unreachable } : outcome);
}

function outcomesOf(
  { envelope }: Job,
  recipients: readonly number[],
  verdicts: readonly Verdict[],
  { remark, dsn }: { readonly remark: string; readonly dsn: boolean },
): Outcome[] {
  return recipients.flatMap((index, at): Outcome[] => {
    const verdict = verdicts[at], recipient = envelope.recipients[index];
    if (verdict === undefined || recipient === undefined) return [];
    const reply = remarked(verdict.reply, remark);
    if (!verdict.delivered) return outcomes([index], reply, resultOf(reply));
    const success = successOf(recipient, dsn);
    return outcomes([index], reply, "delivered").map((outcome) => ({ ...outcome, ...success && { success } }));
  });
}

/** What no server can be sent. */
function unsendable({ flaw }: Contents): RemoteReply | undefined {
  return flaw &&
    localReply(554, "5.6.1", `the message holds ${flaw}, which cannot be sent by DATA without changing it`);
}

/**
 * What this server cannot be sent. Re-encoding the message would let it through and break its DKIM signature, so the
 * sender is told instead.
 */
function beyond(
  server: Server,
  { offers, peer }: Conversation,
  job: Job,
  recipients: readonly number[],
  contents: Contents,
): RemoteReply | undefined {
  const limit = Number(offers.get("SIZE") ?? 0);
  if (limit > 0 && job.content.size > limit) {
    return localReply(552, "5.3.4", `takes messages of up to ${limit} bytes, this one has ${job.content.size}`, peer);
  }
  // What stores mail takes it as it is, whatever it says.
  if (server.lmtp) return undefined;
  if (contents.eightBit && !offers.has("8BITMIME")) {
    return localReply(554, "5.6.3", `${server.name} takes no 8-bit content (8BITMIME)`, peer);
  }
  if (needsUtf8(job, recipients, contents) && !offers.has("SMTPUTF8")) {
    return localReply(550, "5.6.7", `${server.name} takes no addresses or headers in UTF-8 (SMTPUTF8)`, peer);
  }
  return undefined;
}

function transactionOf(
  job: Job,
  recipients: readonly number[],
  contents: Contents,
  { lmtp }: Server,
  { offers }: Conversation,
): Transaction {
  const { sender, ret, envid } = job.envelope;
  return {
    sender,
    recipients: recipients.map((index) => {
      const recipient = job.envelope.recipients[index];
      return { address: addressOf(job, index), ...recipient && requestOf(recipient) };
    }),
    ...ret && { ret },
    ...envid !== undefined && { envid },
    eightBit: contents.eightBit && offers.has("8BITMIME"),
    smtputf8: needsUtf8(job, recipients, contents) && offers.has("SMTPUTF8"),
    content: job.content,
    ...lmtp && { lmtp },
  };
}

/** RFC 6531 §3.4: asked for only when something in the message really needs it, so that old servers can have the rest. */
function needsUtf8(job: Job, recipients: readonly number[], { utf8Header }: Contents): boolean {
  const addresses = [job.envelope.sender, ...recipients.map((recipient) => addressOf(job, recipient))];
  return (job.envelope.smtputf8 && utf8Header) || addresses.some((address) => NOT_ASCII.test(address));
}

function addressOf({ envelope }: Job, recipient: number): string {
  const target = envelope.recipients[recipient]?.target;
  return target?.to === "remote" || target?.to === "lmtp" ? target.address : "";
}

// deno-lint-ignore no-control-regex
const NOT_ASCII = /[^\x00-\x7f]/, UNWRITABLE = /[\x00-\x1f\x7f<>]/;

/** Whether an address stays inside its brackets. */
function isWritable(address: string): boolean {
  return !UNWRITABLE.test(address);
}
