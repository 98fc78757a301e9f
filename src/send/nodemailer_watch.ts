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
  _responseQueue: string[];
}

export function innerOf(client: SMTPConnection): Inner {
  return client as unknown as Inner;
}

/** Puts `speak` between nodemailer and the wire. */
export function hook(client: SMTPConnection, speak: (line: string) => string): void {
  const inner = innerOf(client);
  const send = inner._sendCommand.bind(client);
  inner._sendCommand = (line, masked) => send(speak(line), masked);
}
