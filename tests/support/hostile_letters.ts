/** Messages made to cost time, to break what reads them, or to be taken for what they are not. */

import { signedLetter, type SigningKey } from "./signed_letter.ts";
import type { Text } from "./strangers.ts";

export interface HostileLetter {
  readonly name: string;
  /** `nth`: of those that are sent, each a little different. */
  readonly text: (nth: number) => Text;
  readonly helo?: (nth: number) => string;
  readonly sender?: (nth: number) => string;
  /** What may be answered to it in the end. */
  readonly replies: RegExp;
  /** Its signatures are good, so that `dkim=pass` is no lie. */
  readonly isSigned?: true;
}

const TAKEN = /^250 2\.0\.0 Queued/;
const TOO_LARGE = /^(?:554 5\.6\.0 The header (?:is too large|has too many fields)|552 5\.3\.4)/;
const TOO_FOLDED = /^554 5\.6\.0 A header field is folded/;
const NO_AUTHOR = /^550 5\.6\.0 A message has exactly one From/;
const TOO_LONG_A_LINE = /^(?:554 5\.6\.0 Message holds a line that is too long|552 5\.3\.4)/;
const ANY = /^(?:250|5\d\d) /;

/** The header fields of a plain message. */
function head(subject: string, from = "carol@nothing.test"): string {
  return `From: ${from}\r\nTo: ann@ours.test\r\nSubject: ${subject}\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\n`;
}

/** Cut into lines of `width` signs, each of them the continuation of the one before. */
function folded(text: string, width = 900): string {
  const lines: string[] = [];
  for (let at = 0; at < text.length; at += width) lines.push(text.slice(at, at + width));
  return lines.join("\r\n ");
}

function* endless(beginning: string, filler: string, size: number): Generator<Uint8Array> {
  const encoder = new TextEncoder(), piece = encoder.encode(filler.repeat(Math.ceil(65_536 / filler.length)));
  yield encoder.encode(beginning);
  for (let sent = 0; sent < size; sent += piece.length) yield piece;
  yield encoder.encode("\r\n.\r\n");
}

const MEGABYTE = 1_000_000;
const FIELDS = ["From", "To", "Subject", "Authentication-Results", "DKIM-Signature"];
const WORDS = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"];

/** `key` stands at `*._domainkey.keys.test`, and at other names in a record nobody should read. */
export function hostileLetters(key: SigningKey): readonly HostileLetter[] {
  /** One line for each, with a selector of its own. */
  const signatures = (count: number, tags: Record<string, string>, more = {}) =>
    Array.from({ length: count }, (_, nth) => {
      const text = signedLetter(key, {
        from: "carol@keys.test",
        tags: { d: "keys.test", s: `s${nth}`, ...tags },
        ...more,
      });
      return text.slice(0, text.indexOf("\r\n") + 2);
    }).join("");
  const thousand = signatures(1000, { c: "simple/simple" }), some = signatures(780, {}), long = "x".repeat(76);
  const body = `${long}\r\n`.repeat(MEGABYTE / 78), twoHundred = signatures(200, {}, { body });
  const wide = signatures(5, { h: ["from", ...Array(1800).fill("x")].join(":") });
  const keyed = (selector: string, domain: string) => (nth: number) =>
    signedLetter(key, { from: `carol@${domain}`, tags: { d: domain, s: `${selector}${nth}` } });

  return [
    {
      name: "From with 80,000 a, in one line",
      text: (n) => head(`${n}`, "a,".repeat(80_000)) + "\r\n",
      replies: TOO_LONG_A_LINE,
    },
    {
      name: "From with 80,000 a, folded",
      text: (n) => `${head(`${n}`, folded("a,".repeat(80_000)))}\r\n`,
      replies: NO_AUTHOR,
    },
    {
      name: "From with 80,000 addresses",
      text: (n) => `${head(`${n}`, folded("a@b.cc,".repeat(30_000)))}\r\n`,
      replies: NO_AUTHOR,
    },
    {
      name: "40,000 folded lines",
      text: (n) => `${head(`${n}`)}X: y${"\r\n y".repeat(40_000)}\r\n\r\n`,
      replies: TOO_FOLDED,
    },
    {
      name: "499 folded lines of 500 blanks",
      text: (n) => `${head(`${n}`)}X: y${`\r\n${" ".repeat(500)}`.repeat(499)}y\r\n\r\n`,
      replies: TAKEN,
    },
    {
      name: "1,000 DKIM-Signature fields of nonsense",
      text: (n) => `${"DKIM-Signature: v=1; a=rsa-sha256\r\n".repeat(990)}${head(`${n}`)}\r\n`,
      replies: TAKEN,
    },
    {
      name: "1,000 DKIM signatures with keys",
      text: (n) => `${thousand}${head(`${n}`, "carol@keys.test")}\r\nHello.\r\n`,
      replies: TOO_LARGE,
      isSigned: true,
    },
    {
      name: "780 good DKIM signatures",
      text: (n) => `${some}${head(`${n}`, "carol@keys.test")}\r\nHello.\r\n`,
      replies: TAKEN,
      isSigned: true,
    },
    {
      name: "200 signatures over 1 MB",
      text: (n) => `${twoHundred}${head(`${n}`, "carol@keys.test")}\r\n${body}`,
      replies: TAKEN,
      isSigned: true,
    },
    {
      name: "signatures that cover 9,000 fields",
      text: (n) => `${wide}${head(`${n}`, "carol@keys.test")}${"x: y\r\n".repeat(980)}\r\nHello.\r\n`,
      replies: TAKEN,
      isSigned: true,
    },
    {
      name: "signatures over 4 MB of blanks",
      text: (n) =>
        `${signatures(5, {})}${head(`${n}`, "carol@keys.test")}\r\n${`${" ".repeat(4000)}\r\n`.repeat(1000)}`,
      replies: TAKEN,
    },
    {
      name: "signatures over a million line ends",
      text: (n) => `${signatures(5, {})}${head(`${n}`, "carol@keys.test")}\r\n${"\r\n".repeat(MEGABYTE)}x\r\n`,
      replies: TAKEN,
    },
    {
      name: "header of 1 MB",
      text: (n) => `${head(`${n}`)}${`X: ${"y".repeat(1000)}\r\n`.repeat(1000)}\r\n`,
      replies: TOO_LARGE,
    },
    {
      name: "header of 255 KB",
      text: (n) => `${head(`${n}`)}${`X: ${"y".repeat(255)}\r\n`.repeat(980)}\r\n`,
      replies: TAKEN,
    },
    {
      name: "100,000 header fields",
      text: (n) => `${head(`${n}`)}${"a: b\r\n".repeat(100_000)}\r\n`,
      replies: TOO_LARGE,
    },
    { name: "10,000 nested multiparts", text: (n) => `${head(`${n}`)}${nested(10_000)}`, replies: TAKEN },
    ...[MEGABYTE, 240_000].map((size): HostileLetter => ({
      name: `${size.toLocaleString("en")} ( in one of ${FIELDS.length} fields`,
      text: (n) => `${head(`${n}`)}${FIELDS[n % FIELDS.length]}: ${folded("(".repeat(size))}\r\n\r\n`,
      replies: size === MEGABYTE ? /^554 5\.6\.0/ : ANY,
    })),
    {
      name: "1 MB of ( in one line",
      text: (n) => `${FIELDS[n % FIELDS.length]}: ${"(".repeat(MEGABYTE)}\r\n${head(`${n}`)}\r\n`,
      replies: TOO_LONG_A_LINE,
    },
    {
      name: "100 MB without a line end",
      text: (n) => endless(`${head(`${n}`)}\r\n`, "x", 100 * MEGABYTE),
      replies: TOO_LONG_A_LINE,
    },
    {
      name: "words that objects have",
      text: (n) => {
        const word = WORDS[n % WORDS.length]!,
          tags = { d: `${word.replaceAll("_", "x")}.test`, s: word, h: `from:${word}:__proto__`, [word]: word };
        return `${word}: ${word}\r\n${
          signedLetter(key, { from: `${word}@nothing.test`, fields: `${word}: x\r\n`, tags })
        }`;
      },
      helo: (n) => WORDS[n % WORDS.length]!.replaceAll("_", "x"),
      sender: (n) => `${WORDS[n % WORDS.length]}@nothing.test`,
      replies: TAKEN,
    },
    {
      name: "names of 255 octets",
      text: (n) => {
        const name = longName(255);
        return signedLetter(key, {
          from: `carol@${longName(240)}`,
          fields: `Subject: ${n}\r\n`,
          tags: { d: name, s: name },
        });
      },
      helo: () => longName(255),
      sender: (n) => `c${n}@${longName(240)}`,
      replies: ANY,
    },
    ...["long", "many", "mx", "mxs", "loop", "chain", "macros", "includes", "tree"].map((zone): HostileLetter => ({
      name: `SPF: ${zone}.test`,
      text: (n) => `${head(`${n}`, `carol@n${n}.${zone}.test`)}\r\n`,
      // As many words as a local part can have, for macros that count them.
      sender: (n) => `${"a.".repeat(24)}a${n}@n${n}.${zone}.test`,
      replies: TAKEN,
    })),
    ...["policy", "policies", "loop"].map((zone): HostileLetter => ({
      name: `DMARC: ${zone}.test`,
      text: (n) => `${head(`${n}`, `carol@n${n}.${zone}.test`)}\r\n`,
      replies: TAKEN,
    })),
    ...["longkey", "manykeys", "giant", "loop", "exponent"].map((zone): HostileLetter => ({
      name: `DKIM key: ${zone}.test`,
      text: keyed("k", `${zone}.test`),
      replies: TAKEN,
      // Which of several records counts is undefined (RFC 6376 §3.6.2.2); each of these is of the domain's owner.
      ...zone === "manykeys" && { isSigned: true },
    })),
    {
      name: "500 addresses from a blocklist, 500 of the name in HELO",
      text: (n) => `${head(`${n}`)}\r\n`,
      helo: (n) => `n${n}.addresses.test`,
      replies: TAKEN,
    },
  ];
}

function nested(depth: number): string {
  const parts: string[] = [];
  for (let level = 0; level < depth; level++) {
    parts.push(`Content-Type: multipart/mixed; boundary="b${level}"\r\n\r\n--b${level}\r\n`);
  }
  return `MIME-Version: 1.0\r\n${parts.join("")}\r\nHello.\r\n`;
}

/** Labels of 63 octets, and what is left. */
function longName(octets: number): string {
  return Array.from({ length: Math.ceil(octets / 64) }, (_, at) => "x".repeat(Math.min(63, octets - 64 * at - 5)))
    .filter((label) => label !== "").join(".").slice(0, octets - 5) + ".test";
}
