/** A message from a program on this machine (`maildemon send`), taken in by the same door as one that came by SMTP. */

import { addressKey, formatMailbox, type Mailbox, needsUtf8, parseMailbox } from "../smtp/address.ts";
import type { RecipientLine, Sender } from "../smtp/command.ts";
import { type HeaderLimits, readHeader, valueOf } from "../smtp/headers.ts";
import { parseAddressList } from "../smtp/originator.ts";
import { isPositive, type Reply } from "../smtp/reply.ts";
import type { Host } from "./connection.ts";
import { prepend } from "./originate.ts";

/** A message that cannot be sent, with the sentence for the person who tried. */
export class NotSent extends Error {
  override readonly name = "NotSent";
}

export interface Submission {
  /** Line ends of any kind. */
  readonly message: Uint8Array;
  /** Login; by default whose address stands in From. */
  readonly user?: string;
  /** Besides those in To, Cc and Bcc. */
  readonly recipients: readonly string[];
}

export interface SubmitParts {
  readonly limits: HeaderLimits & { /** Octets. */ readonly maxMessageSize: number };
  /** The login of whom an address belongs to. */
  ownerOf(address: Mailbox): Promise<string | undefined>;
  /** The door, for this user. */
  hostFor(user: string): Host;
}

const HELLO = { name: "localhost", extended: true };
const CR = 13, LF = 10;

/** Gives the last reply, `Queued as ID`. Rejects with NotSent when anything of it is refused; then nothing is sent. */
export async function submit({ message, user, recipients }: Submission, parts: SubmitParts): Promise<Reply> {
  let text = withCrlf(message);
  if (text.length > parts.limits.maxMessageSize) {
    const { maxMessageSize } = parts.limits;
    throw new NotSent(`The message has ${text.length} bytes; max_message_size allows ${maxMessageSize}.`);
  }
  if (user !== undefined && !fieldsOf(text, parts).some(({ name }) => name === "from")) {
    text = prepend(`From: ${user}\r\n`, text);
  }
  const fields = fieldsOf(text, parts);
  const addresses = (names: readonly string[]) =>
    fields.filter(({ name }) => names.includes(name)).flatMap(({ name, value }) => {
      const list = parseAddressList(value);
      if (list === undefined) throw new NotSent(`The field ${name} cannot be read as a list of addresses: ${value}`);
      return list;
    });
  const [from] = addresses(["from"]);
  if (from === undefined) throw new NotSent("The message has no From field: write one, or name a user with --user.");
  const login = await parts.ownerOf(user === undefined ? from : demandMailbox(user));
  if (login === undefined) {
    throw new NotSent(
      user === undefined
        ? `${addressKey(from)} belongs to none of the users: name one with --user.`
        : `There is no user ${user}: "user list" shows all.`,
    );
  }
  const to = new Map(
    [...recipients.map(demandMailbox), ...addresses(["to", "cc", "bcc"])].map((
      mailbox,
    ) => [addressKey(mailbox), mailbox]),
  );
  if (to.size === 0) throw new NotSent("The message has no recipient: write To, Cc or Bcc, or name some.");
  return await dialog(parts.hostFor(login), from, [...to.values()], text);
}

/** The questions that a session would ask. */
async function dialog(host: Host, from: Mailbox, to: readonly Mailbox[], text: Uint8Array): Promise<Reply> {
  const sender: Sender = { path: from, body: "8BITMIME", smtputf8: [from, ...to].some(needsUtf8) };
  const recipients = to.map((path): RecipientLine => ({ path }));
  const transaction = { sender, recipients };
  demandPositive(await host.answer({ about: "sender", sender, hello: HELLO }), formatMailbox(from));
  for (const recipient of recipients) {
    const about = { about: "recipient", recipient, transaction } as const;
    demandPositive(
      await host.answer(about),
      recipient.path === "postmaster" ? recipient.path : formatMailbox(recipient.path),
    );
  }
  const full = host.body(text);
  if (full) await full;
  return demandPositive(await host.answer({ about: "message", transaction, hello: HELLO }), "the message");
}

function demandPositive(said: Reply, what: string): Reply {
  if (isPositive(said)) return said;
  throw new NotSent(
    `Nothing was sent: ${what} was refused: ${said.code} ${said.enhanced ?? ""} ${said.lines.join(" ")}`,
  );
}

function demandMailbox(text: string): Mailbox {
  const mailbox = parseMailbox(text);
  if (mailbox === undefined) throw new NotSent(`${JSON.stringify(text)} is no address: write local@domain.`);
  return mailbox;
}

function fieldsOf(
  text: Uint8Array,
  { limits }: SubmitParts,
): readonly { readonly name: string; readonly value: string }[] {
  const header = readHeader(text, limits);
  if (typeof header === "string") throw new NotSent(`The header cannot be read: ${header}.`);
  return header.fields.map((field) => ({ name: field.name, value: valueOf(text, field) }));
}

/** Every line end becomes CRLF: what programs write has LF. */
export function withCrlf(bytes: Uint8Array): Uint8Array {
  let ends = 0;
  for (const byte of bytes) if (byte === CR || byte === LF) ends++;
  const text = new Uint8Array(bytes.length + ends + 2);
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === CR && bytes[at + 1] === LF) continue;
    if (byte === LF || byte === CR) {
      text[length++] = CR;
      text[length++] = LF;
    } else text[length++] = byte;
  }
  if (length > 0 && text[length - 1] !== LF) {
    text[length++] = CR;
    text[length++] = LF;
  }
  return text.subarray(0, length);
}
