/**
 * Instead of a conversation: the message as it would have left, and to whom, as two files. Everything up to the
 * connection has happened by then, so what the DNS refuses is refused here too.
 */

import { writeAll } from "../durable_file.ts";
import type { Job, Outcome } from "../queue/entry.ts";
import { requestOf, successOf } from "./dsn.ts";
import { localReply, outcomes } from "./remote_reply.ts";
import type { Server } from "./route.ts";

/** What stands in `ID.json`. */
export interface Captured {
  readonly id: string;
  /** When it would have left, ISO 8601. */
  readonly time: string;
  /** The server that would have been tried first. */
  readonly host: string;
  readonly port: number;
  readonly sender: string;
  readonly recipients: readonly {
    readonly address: string;
    readonly notify?: readonly string[];
    readonly orcpt?: string;
  }[];
  readonly body: string;
  readonly smtputf8: boolean;
  readonly ret?: string;
  readonly envid?: string;
}

/**
 * Writes `ID.eml` and then `ID.json` (`ID-2` and so on for further conversations of a message): where there is a
 * `.json`, both are whole. Rejects when the folder cannot be written.
 */
export async function capture(
  job: Job,
  recipients: readonly number[],
  server: Server,
  { outbox, now = Date.now }: { readonly outbox: string; readonly now?: () => number },
): Promise<Outcome[]> {
  await Deno.mkdir(outbox, { recursive: true, mode: 0o700 });
  const draft = `${outbox}/.${job.id}-${crypto.randomUUID()}`;
  try {
    await writeMessage(`${draft}.eml`, job);
    const name = await claim(`${draft}.eml`, outbox, job.id);
    const captured = describe(job, recipients, server, new Date(now()));
    await Deno.writeTextFile(`${draft}.json`, `${JSON.stringify(captured, null, 2)}\n`);
    await Deno.rename(`${draft}.json`, `${outbox}/${name}.json`);
    const reply = localReply(250, "2.0.0", `captured as ${name}.eml`, server.name);
    return outcomes(recipients, reply, "delivered").map((outcome) => {
      const recipient = job.envelope.recipients[outcome.recipient], success = recipient && successOf(recipient, true);
      return { ...outcome, ...success && { success } };
    });
  } finally {
    await Deno.remove(`${draft}.eml`).catch(() => {});
    await Deno.remove(`${draft}.json`).catch(() => {});
  }
}

async function writeMessage(path: string, { content }: Job): Promise<void> {
  const file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  try {
    for await (const piece of content.pieces()) await writeAll(file, piece);
  } finally {
    file.close();
  }
}

/** A link, unlike a rename, fails when the name is taken: two conversations at one time cannot take the same. */
async function claim(draft: string, outbox: string, id: string): Promise<string> {
  for (let count = 1;; count++) {
    const name = count === 1 ? id : `${id}-${count}`;
    try {
      await Deno.link(draft, `${outbox}/${name}.eml`);
      return name;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

function describe({ id, envelope }: Job, recipients: readonly number[], server: Server, time: Date): Captured {
  const { sender, body, smtputf8, ret, envid } = envelope;
  return {
    id,
    time: time.toISOString(),
    host: server.name,
    port: server.port,
    sender,
    recipients: recipients.flatMap((index) => {
      const recipient = envelope.recipients[index];
      if (recipient?.target.to !== "remote") return [];
      return [{ address: recipient.target.address, ...requestOf(recipient) }];
    }),
    body,
    smtputf8,
    ...ret && { ret },
    ...envid !== undefined && { envid },
  };
}
