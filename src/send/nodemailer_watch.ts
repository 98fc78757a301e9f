/** What nodemailer does not offer by its types: to hear every reply, and to have a say in every command. */

import type SMTPConnection from "nodemailer/lib/smtp-connection";

/** nodemailer tells each reply to its logger, whole and before it acts on it. */
export function listener(heard: (reply: string) => void) {
  const nothing = () => {};
  const debug = (entry: { readonly tnx?: unknown }, text: string) => {
    if (entry.tnx === "server") heard(text);
  };
  return { trace: nothing, debug, info: nothing, warn: nothing, error: nothing, fatal: nothing };
}

/** What nodemailer has and does not show in its types. The tests of the relay fail when a version lacks it. */
interface Inner {
  _sendCommand(line: string, masked?: string): void;
  _onData(chunk: Uint8Array): void;
  _processResponse(): void;
  _responseQueue: string[];
}

export function innerOf(client: SMTPConnection): Inner {
  return client as unknown as Inner;
}

/** Puts `speak` between nodemailer and the wire, and has it take up each reply that is awaited as soon as it is there. */
export function hook(
  client: SMTPConnection,
  { speak, isAwaiting }: { readonly speak: (line: string) => string; readonly isAwaiting: () => boolean },
): void {
  const inner = innerOf(client);
  const send = inner._sendCommand.bind(client), take = inner._onData.bind(client);
  inner._sendCommand = (line, masked) => send(speak(line), masked);
  // Left to itself it takes one in each turn of the event loop, and forgets the others when the connection ends
  // meanwhile: with LMTP, of recipients that have the message already and would get it again.
  inner._onData = (chunk) => {
    take(chunk);
    for (let left = Infinity; inner._responseQueue.length < left && isAwaiting();) {
      left = inner._responseQueue.length; // One whose last line is still to come stays.
      inner._processResponse();
    }
  };
}
