/** Asks rspamd, over HTTP: the message is the body of POST /checkv2, the envelope stands in fields of its own. */

import http from "node:http";
import {
  type Answer,
  CUT_SHORT,
  isScore,
  MAX_ANSWER,
  type ScoredMessage,
  scoreOf,
  TOO_LONG,
  wordsOf,
} from "./score.ts";
import { type AskLimits, askOver } from "./scorer_socket.ts";

/** Octets of one field of the request, of the head of an answer. */
const MAX_FIELD = 1000, MAX_HEAD = 16_384;
/** Answers like 100 Continue. */
const MAX_PROVISIONAL = 10;
const NO_END: Answer = { says: "unusable", reason: "too many provisional answers" };
/** Those that are named; rspamd's rules count them and compare them with To and Cc, and learn nothing new from more. */
const MAX_RECIPIENTS = 100;

/**
 * `url` is that of rspamd's normal worker. The whole message is sent, however long: rspamd verifies signatures and reads
 * attachments, so that a piece of a message would get another score. It takes up to 50 MiB (`max_message`). Never
 * rejects.
 */
export function askRspamd(url: string, message: ScoredMessage, limits: AskLimits): Promise<Answer> {
  const { protocol, hostname, host, port, pathname } = new URL(url), secure = protocol === "https:";
  const server = {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port) || (secure ? 443 : 80),
    secure,
  };
  return askOver(server, limits, (socket, done) => {
    // Our own socket has its own deadline for connecting, and no pool keeps it.
    const request = http.request({
      createConnection: () => socket,
      method: "POST",
      path: `${pathname.replace(/\/$/, "")}/checkv2`,
      headers: { Host: host, Connection: "close", "Content-Length": message.bytes.length, ...envelope(message) },
      maxHeaderSize: MAX_HEAD,
    }, (response) => listen(response, done));
    let provisional = 0;
    // Each costs some work, and whoever says nothing else says it until the deadline.
    request.on("information", () => ++provisional > MAX_PROVISIONAL && done(NO_END));
    request.on("error", (error) => done({ says: "nothing", reason: wordsOf(error.message) }));
    request.on("close", () => done(CUT_SHORT));
    request.end(message.bytes);
    return () => request.destroy();
  });
}

/** What rspamd calls them. It takes several Rcpt. */
function envelope({ ip, helo, name, sender, recipients, queueId, user, hostname }: ScoredMessage) {
  return {
    IP: field(ip),
    Helo: field(helo),
    ...name === undefined ? {} : { Hostname: field(name) },
    From: field(`<${sender}>`),
    Rcpt: recipients.slice(0, MAX_RECIPIENTS).map((recipient) => field(`<${recipient}>`)),
    "Queue-Id": field(queueId),
    ...user === undefined ? {} : { User: field(user) },
    "MTA-Name": field(hostname),
  };
}

/** The octets of `text` in UTF-8, each as one character, without any that could end the field or the request. */
function field(text: string): string {
  const octets = new TextEncoder().encode(text).subarray(0, MAX_FIELD);
  return Array.from(octets, (octet) => octet < 32 || octet === 127 ? "?" : String.fromCharCode(octet)).join("");
}

/** A redirect is an answer like any other that is not 200: nobody else gets the message. */
function listen(response: http.IncomingMessage, done: (answer: Answer) => void): void {
  if (response.statusCode !== 200) return done({ says: "unusable", reason: `HTTP status ${response.statusCode}` });
  // What is no UTF-8 is part of a message that rspamd repeats, and nothing that counts.
  const decoder = new TextDecoder();
  let text = "", size = 0;
  response.on("data", (piece: Uint8Array) => {
    size += piece.length;
    if (size > MAX_ANSWER) return done(TOO_LONG);
    // Not kept as pieces: a million chunks of one octet would be a hundred times as large.
    text += decoder.decode(piece, { stream: true });
  });
  response.on("end", () => done(response.complete ? readReply(text + decoder.decode()) : CUT_SHORT));
  response.on("error", () => done(CUT_SHORT));
}

function readReply(text: string): Answer {
  let reply: unknown;
  try {
    reply = JSON.parse(text);
  } catch {
    return { says: "unusable", reason: "its answer is not JSON" };
  }
  if (!isRecord(reply)) return { says: "unusable", reason: "its answer is no object" };
  const { score, required_score: required, symbols } = reply;
  if (!isScore(score)) return { says: "unusable", reason: "its answer holds no score" };
  const hits = isRecord(symbols) ? Object.entries(symbols) : [];
  const scored = hits.map(([name, hit]) => ({ name, score: isRecord(hit) ? hit.score : undefined }));
  return scoreOf(score, isScore(required) ? required : undefined, scored);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
