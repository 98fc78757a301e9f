/** Asks SpamAssassin's spamd, in the protocol of its spamc: a head, the message, and back a head with the score. */

import { type Answer, CUT_SHORT, MAX_ANSWER, type ScoredMessage, scoreOf, TOO_LONG, wordsOf } from "./score.ts";
import { type AskLimits, askOver } from "./scorer_socket.ts";

/**
 * Octets of a message that are sent. Its own spamc asks nothing about longer ones, which would be a way around the
 * scorer; what SpamAssassin's rules look at stands before this.
 */
const MOST_SENT = 512 * 1024;
const MAX_HEAD = 16_384;

/** Of a long message only the first 512 KiB are sent. Never rejects. */
export function askSpamd(
  server: { readonly host: string; readonly port: number },
  message: ScoredMessage,
  limits: AskLimits,
): Promise<Answer> {
  return askOver({ ...server, secure: false }, limits, (socket, done) => {
    let said = "", reply: Reply | undefined;
    socket.on("data", (piece: Uint8Array) => {
      if (said.length + piece.length > MAX_ANSWER) return done(TOO_LONG);
      said += latin1(piece);
      reply ??= readHead(said);
      if (reply === undefined) return said.length > MAX_HEAD ? done(NOT_SPAMD) : undefined;
      if (reply.failure !== undefined) return done(reply.failure);
      if (said.length >= reply.whole) done(readScore(said, reply));
    });
    // CHECK and old versions do not say how long their answer is; then it ends here.
    socket.on("end", () => done(reply?.whole === Infinity ? readScore(said, reply) : CUT_SHORT));
    socket.on("close", () => done(CUT_SHORT));
    const body = onTop(message), piece = message.bytes.subarray(0, MOST_SENT);
    socket.write(head(message, body.length + piece.length));
    socket.write(body);
    // It reads lines, and waits for the end of a last one that has none until our side is shut.
    socket.end(piece);
    return () => {};
  });
}

/** SYMBOLS says the score and the names of the rules; reports, which have their scores too, look as their template wants. */
function head({ user }: ScoredMessage, length: number): string {
  // It looks for the preferences of that person; who is not known to it has none.
  const whose = user !== undefined && /^[\x21-\x7e]{1,320}$/.test(user) ? `User: ${user}\r\n` : "";
  return `SYMBOLS SPAMC/1.5\r\nContent-length: ${length}\r\n${whose}\r\n`;
}

/** Where SpamAssassin looks for the envelope's sender. The peer and its HELO name it takes from our Received field. */
function onTop({ sender }: ScoredMessage): Uint8Array {
  // deno-lint-ignore no-control-regex
  return new TextEncoder().encode(`Return-Path: <${sender.replace(/[\x00-\x20\x7f<>]/g, "?").slice(0, 320)}>\r\n`);
}

interface Reply {
  readonly head: string;
  /** Where the body begins, and how long all of it is; Infinity when that is not told. */
  readonly body: number;
  readonly whole: number;
  readonly failure?: Answer;
}

const NOT_SPAMD: Answer = { says: "unusable", reason: "its answer is not that of a spamd" };

/** Undefined until the head is complete. */
function readHead(said: string): Reply | undefined {
  const end = said.indexOf("\r\n\r\n");
  const line = /^SPAMD\/\d+\.\d+ (\d{1,5})(?: ([^\r\n]*))?\r\n/.exec(said);
  // What is refused has but this line.
  if (line !== null && line[1] !== "0") return refused(`${line[1]} ${line[2] ?? ""}`);
  if (end < 0) return undefined;
  const head = said.slice(0, end + 2), body = end + 4;
  if (line === null) return { head, body, whole: 0, failure: NOT_SPAMD };
  const length = /^Content-length:[ \t]*(\d{1,9})[ \t]*\r$/im.exec(head)?.[1];
  return { head, body, whole: length === undefined ? Infinity : body + Number(length) };
}

function refused(words: string): Reply {
  return { head: "", body: 0, whole: 0, failure: { says: "unusable", reason: wordsOf(`it says ${words}`) } };
}

/** `Spam: True ; 15.0 / 5.0`. */
function readScore(said: string, { head, body, whole }: Reply): Answer {
  const found =
    /^Spam:[ \t]*\w+[ \t]*;[ \t]*(-?\d{1,9}(?:\.\d{1,9})?)[ \t]*\/[ \t]*(-?\d{1,9}(?:\.\d{1,9})?)[ \t]*\r$/im
      .exec(head);
  if (found === null) return { says: "unusable", reason: "its answer holds no score" };
  const names = said.slice(body, whole).split(/[\s,]+/).filter((name) => name !== "" && name !== "none");
  return scoreOf(Number(found[1]), Number(found[2]), names.map((name) => ({ name })));
}

function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
