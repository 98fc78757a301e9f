/** `maildemon send` as a request: the running server takes the message in. */

import type { Submission } from "../accept/submit.ts";
import type { Reply } from "../smtp/reply.ts";
import type { Handler } from "./control.ts";

/** Answers with the text of the last reply, `Queued as ID`. */
export function sendHandler(reception: { submit(submission: Submission): Promise<Reply> }): Handler {
  return async ({ user, recipients }, body) => {
    if (user !== undefined && typeof user !== "string") throw new Error("The request names a user that is no text.");
    if (!Array.isArray(recipients) || !recipients.every((one) => typeof one === "string")) {
      throw new Error("The request names recipients that are no list of addresses.");
    }
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    const message = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
    const said = await reception.submit({ message, recipients, ...(user !== undefined && { user }) });
    return said.lines.join(" ");
  };
}
