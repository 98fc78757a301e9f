/** Signed messages of all kinds, the same for the same seed. Texts hold one octet in each character. */

import { Buffer } from "node:buffer";
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { dkimBody } from "mailauth/lib/dkim/body/index.js";
import { generateCanonicalizedHeader } from "mailauth/lib/dkim/header/index.js";
import { dkimSign } from "mailauth/lib/dkim/sign.js";
import { getSigningHeaderLines, parseHeaders } from "mailauth/lib/tools.js";
import { dkimRecord } from "../../src/send/dkim_key.ts";
import { prepareKey, signatureFields } from "../../src/send/dkim_signature.ts";
import { bytesOf } from "./every_cut.ts";

export interface Chance {
  /** In [0, 1). */
  readonly random: () => number;
  readonly pick: <T>(from: readonly T[]) => T;
  /** From 0 up to and without `below`. */
  readonly whole: (below: number) => number;
}

export function chanceOf(random: () => number): Chance {
  const whole = (below: number) => Math.floor(random() * below);
  return { random, whole, pick: (from) => from[whole(from.length)]! };
}

export interface SignedMail {
  readonly text: string;
  /** Nothing in it is unusual: it must pass quickly. */
  readonly plain: boolean;
  /** Its signatures are written as signers write them, without blanks in unusual places. */
  readonly calm: boolean;
}

interface Key {
  readonly domain: string;
  readonly selector: string;
  readonly algorithm: "rsa-sha256" | "ed25519-sha256";
  readonly pem: string;
  readonly key: KeyObject;
}

const KEYS: readonly Key[] = [
  newKey("remote.test", "one", 1024),
  newKey("remote.test", "two.2026", 2048),
  newKey("other.test", "one", 1032),
  newKey("remote.test", "ed", "ed25519"),
];

/** By the names at which they stand. */
export const KEY_RECORDS: Readonly<Record<string, string>> = Object.fromEntries(
  KEYS.map(({ domain, selector, pem }) => [`${selector}._domainkey.${domain}`, dkimRecord(pem)]),
);

function newKey(domain: string, selector: string, kind: number | "ed25519"): Key {
  const pair = kind === "ed25519"
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("rsa", { modulusLength: kind });
  const pem = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const algorithm = kind === "ed25519" ? "ed25519-sha256" : "rsa-sha256";
  return { domain, selector, algorithm, pem, key: createPrivateKey(pem) };
}

const FORMS = ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"];
const AUTHORS = [
  "carol@remote.test",
  "<carol@remote.test>",
  "Carol <carol@mail.remote.test>",
  "\r\n Carol C.\t<c.a+rol@other.test>",
  '"Doe, Carol" <carol@remote.test>',
  "=?utf-8?q?Car=C3=B6l?=\r\n <carol@remote.test>",
  "Gr\xc3\xbc\xa0\xdf <carol@remote.test>",
];
const ODD_AUTHORS = [
  "a@remote.test, b@other.test",
  '"a b"@remote.test',
  "All: carol@remote.test;",
  "Carol (x@other.test) <carol@remote.test>",
  "carol@remote.test <x>",
];
const NAMES = ["To", "Cc", "Subject", "DATE", "message-id", "Received", "Received", "X-Odd_Name!", "Content-Type"];
const WORDS = [
  "a",
  "Hello",
  " ",
  "  ",
  "\t",
  " \t ",
  "\r\n ",
  "\r\n\t",
  "\xe9",
  "\xc3\xa0",
  "\xa0",
  ":",
  ";",
  "b=",
  "=",
];
const ODD_FIELDS = ["Subject : x", "X:\x01", "X: a\rb", "X: a\nb", "ARC-Seal: i=1", "no field"];
const LINES = [
  "a",
  "Hello there.",
  " ",
  "  ",
  "\t",
  "\r\n",
  "\r\n",
  " \r\n",
  "\r\n\r\n",
  ".",
  "\xff",
  "\x00",
  "\xc3\xbc",
];

/** A message with one to three signatures, each good. */
export async function signedMail(chance: Chance): Promise<SignedMail> {
  const { random, pick, whole } = chance;
  const oddAuthor = random() < 0.05, oddField = random() < 0.05;
  const fields = [`${pick(["From", "FROM", "from"])}: ${pick(oddAuthor ? ODD_AUTHORS : AUTHORS)}`];
  for (let count = whole(9); count > 0; count--) {
    fields.splice(whole(fields.length + 1), 0, `${pick(NAMES)}:${several(whole(7), WORDS, chance)}`);
  }
  if (oddField) fields.splice(1 + whole(fields.length), 0, pick(ODD_FIELDS));
  const odd = random() < 0.05 ? ["\r", "\n"] : [];
  // Those who read in pieces of 64 KiB must not see where one ends.
  const filler = random() < 0.03 ? `${"x".repeat(65_500 + whole(40))}\r\n`.repeat(1 + whole(2)) : "";
  const body = filler + several(whole(40), [...LINES, ...odd], chance);
  let text = `${fields.join("\r\n")}\r\n\r\n${body}`, plain = !oddAuthor && !oddField;
  if (/\r(?!\n)|(?<!\r)\n/.test(body)) plain = false;
  const signers = Array.from({ length: pick([1, 1, 1, 2, 3]) }, () => pick([byOurs, byMailauth, byHand, byHand]));
  for (const signer of signers) text = await signer(text, pick(KEYS), chance) + text;
  return { text, plain, calm: !signers.includes(byHand) };
}

function several(count: number, from: readonly string[], { pick }: Chance): string {
  return Array.from({ length: count }, () => pick(from)).join("");
}

type Signer = (text: string, key: Key, chance: Chance) => string | Promise<string>;

const byOurs: Signer = (text, key) => signatureFields(bytesOf(text), [prepareKey(key)], Date.now());

const byMailauth: Signer = async (text, { domain, selector, algorithm, pem }, { pick }) => {
  const { signatures } = await dkimSign(Buffer.from(text, "latin1"), {
    canonicalization: pick(FORMS),
    algorithm,
    signTime: new Date(),
    signatureData: [{ signingDomain: domain, selector, privateKey: pem }],
  } as never);
  return signatures;
};

/** With what else may be signed and written; it is canonicalized by mailauth. */
const byHand: Signer = (text, { domain, selector, algorithm, key }, chance) => {
  const { pick, random, whole } = chance, form = pick(FORMS), now = Math.trunc(Date.now() / 1000);
  const cut = text.indexOf("\r\n\r\n") + 4;
  const body = dkimBody(form, "sha256", "");
  body.update(Buffer.from(lineEnds(text.slice(cut)), "latin1"));
  const some = Array.from({ length: whole(12) }, () => pick([...NAMES, "From", "Reply-To", "missing"]));
  const names = ["from", ...some].toSorted(() => random() - 0.5);
  const tags: readonly (readonly [name: string, value: string] | undefined)[] = [
    ["v", "1"],
    ["a", algorithm],
    ["c", form],
    ["d", pick([domain, domain, domain.toUpperCase()])],
    ["s", selector],
    ["h", names.join(pick([":", " : ", ":\r\n\t", ": "]))],
    ["bh", body.digest("base64")],
    random() < 0.3 ? ["t", String(now - whole(1000))] : undefined,
    random() < 0.3 ? ["x", String(now + 1000 + whole(1000))] : undefined,
    random() < 0.3 ? ["q", "dns/txt"] : undefined,
    random() < 0.3 ? ["i", pick([`@${domain}`, `carol@${domain}`, `a.b+c@sub.${domain}`])] : undefined,
    ["b", "@"],
  ];
  const list = tags.filter((tag) => tag !== undefined).toSorted(() => random() - 0.5)
    .map(([name, value]) => `${name}${pick(["=", "=", "=", " =", "= ", "=\r\n ", "\t=\t"])}${value}`)
    .join(pick([";", "; ", ";\r\n\t", " ; ", ";  "])) + pick(["", ";", "; "]);
  const empty = `${pick(["DKIM-Signature", "dkim-signature"])}:${pick(["", " ", "\r\n\t"])}${list}`;
  const rows = parseHeaders(Buffer.from(text.slice(0, cut), "latin1")).parsed;
  const { canonicalizedHeader } = generateCanonicalizedHeader(
    "DKIM",
    getSigningHeaderLines(rows, names.join(":"), true),
    {
      signatureHeaderLine: Buffer.from(empty, "latin1"),
      canonicalization: form,
      strict: true,
    },
  );
  const signature = algorithm === "rsa-sha256"
    ? sign("sha256", canonicalizedHeader, key)
    : sign(null, createHash("sha256").update(canonicalizedHeader).digest(), key);
  const folded = signature.toString("base64").match(/.{1,60}/g)?.join(pick(["", "\r\n ", " ", "\r\n\t "])) ?? "";
  return `${empty.replace(/(^|[:;\s])(b\s*=\s*)@/, `$1$2${folded}`)}\r\n`;
};

/** As mailauth reads them: an LF that stands alone ends a line. */
function lineEnds(text: string): string {
  return text.replace(/(?<!\r)\n/g, "\r\n");
}
