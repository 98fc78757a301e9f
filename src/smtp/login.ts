/** The dialog of AUTH (RFC 4954 §4): what a response means, and what comes next. */

import type { Credentials, Exchange, ScramMechanism } from "./effect.ts";
import * as say from "./replies.ts";
import { type Reply, reply } from "./reply.ts";
import { decodeResponse, encodeChallenge, type Mechanism, parsePlain } from "./sasl.ts";

/** What the next line of the client answers. */
export type Awaited =
  | { readonly mechanism: "PLAIN" }
  | { readonly mechanism: "LOGIN"; readonly login?: string }
  | { readonly mechanism: ScramMechanism; readonly first: boolean };

export type LoginStep =
  | { readonly next: "refuse"; readonly reply: Reply }
  | { readonly next: "challenge"; readonly reply: Reply; readonly awaited: Awaited }
  | { readonly next: "ask"; readonly question: Credentials | Exchange };

/** `initial` as it stood in the command: `=` is a response of no bytes. */
export function beginLogin(mechanism: Mechanism, initial: string | undefined): LoginStep {
  const awaited: Awaited = mechanism === "PLAIN" || mechanism === "LOGIN" ? { mechanism } : { mechanism, first: true };
  if (initial !== undefined) return respond(initial === "=" ? "" : initial, awaited);
  const challenge = mechanism === "LOGIN" ? encodeChallenge("Username:") : "";
  return { next: "challenge", reply: reply(334, "", challenge), awaited };
}

/** One line of the client in the middle of the dialog. */
export function respond(line: string, awaited: Awaited): LoginStep {
  if (line === "*") return refuse(say.AUTH_CANCELLED);
  const message = decodeResponse(line);
  if (message === undefined) return refuse(say.NOT_BASE64);
  switch (awaited.mechanism) {
    case "PLAIN": {
      const plain = parsePlain(message);
      return plain === undefined
        ? refuse(say.BAD_CREDENTIALS_FORM)
        : { next: "ask", question: { about: "credentials", ...plain } };
    }
    case "LOGIN":
      if (awaited.login !== undefined) {
        return { next: "ask", question: { about: "credentials", login: awaited.login, password: message } };
      }
      return {
        next: "challenge",
        reply: reply(334, "", encodeChallenge("Password:")),
        awaited: { mechanism: "LOGIN", login: message },
      };
    case "SCRAM-SHA-256":
    case "SCRAM-SHA-256-PLUS":
      return { next: "ask", question: { about: "exchange", ...awaited, message } };
    default:
      return awaited satisfies never;
  }
}

function refuse(said: Reply): LoginStep {
  return { next: "refuse", reply: said };
}
