/** The text of a zone: a subset of the master files of RFC 1035 §5, and one word of our own, BEHAVE. */

import { Buffer } from "node:buffer";
import { parseName, reverseLabels } from "../dns/name.ts";
import type { DnsRecord } from "../dns/records.ts";
import { reasonOf } from "../log.ts";
import { type Behaviour, makeZone, type Zone } from "./zone.ts";

interface Reader {
  origin: string;
  ttl: number;
  owner: string | undefined;
}

/** One word of a line; a quoted one is never a name, a number or a type. */
interface Word {
  readonly text: string;
  readonly quoted: boolean;
}

const TTL = 300, MAX_NUMBER = 0xffffffff;
/** With the length octets of its strings it has to fit in a message of 65,535. */
const MAX_TXT = 65_000;

/**
 * Lines of `name TTL? IN? TYPE data`. Names are relative to `$ORIGIN` (at first the root) unless they end with a dot;
 * `@` is the origin; a line that begins with a blank is about the name of the line before. `$TTL` in seconds, at
 * first 300. `;` begins a comment. Types: A AAAA CNAME MX NS PTR SOA TLSA TXT, each record on one line, and
 * `name BEHAVE servfail|refused|silent|late MILLISECONDS|truncate|wrong-id|wrong-question|authentic`.
 * Throws an Error that names the line.
 */
export function parseZone(text: string): Zone {
  const records: DnsRecord[] = [], behaviours = new Map<string, Behaviour>();
  const reader: Reader = { origin: "", ttl: TTL, owner: undefined };
  for (const [index, line] of text.split("\n").entries()) {
    try {
      readLine(line, reader, records, behaviours);
    } catch (error) {
      const why = reasonOf(error);
      throw new Error(`Cannot read line ${index + 1} of the zone, "${line.trim()}": ${why}`);
    }
  }
  return makeZone(records, behaviours);
}

function readLine(line: string, reader: Reader, records: DnsRecord[], behaviours: Map<string, Behaviour>): void {
  const words = splitWords(line);
  const first = words[0]?.text;
  if (first === undefined) return;
  if (first === "$ORIGIN") {
    reader.origin = ownerName(word(words, 1), reader.origin);
    return;
  }
  if (first === "$TTL") {
    reader.ttl = number(words, 1);
    return;
  }
  if (!/^\s/.test(line)) reader.owner = ownerName(words.shift()?.text ?? "", reader.origin);
  if (reader.owner === undefined) throw new Error("a line that begins with a blank needs a line with a name before it");
  const ttl = /^\d+$/.test(words[0]?.text ?? "") ? Number(words.shift()?.text) : reader.ttl;
  if (words[0]?.text.toUpperCase() === "IN") words.shift();
  const type = words.shift()?.text.toUpperCase() ?? "";
  if (type === "BEHAVE") behaviours.set(reader.owner, readBehaviour(words));
  else records.push({ name: reader.owner, ttl, ...readData(type, words, reader.origin) });
}

function readData(type: string, words: readonly Word[], origin: string) {
  const name = (at: number) => ownerName(word(words, at), origin);
  switch (type) {
    case "A":
    case "AAAA": {
      const data = word(words, 0);
      if (reverseLabels(data) === undefined || data.includes(":") !== (type === "AAAA")) {
        throw new Error(`"${data}" is not an address of type ${type}`);
      }
      return { type, data } as const;
    }
    case "CNAME":
    case "NS":
    case "PTR":
      return { type, data: name(0) } as const;
    case "MX":
      return { type, data: { preference: number(words, 0, 65535), exchange: name(1) } } as const;
    case "TXT": {
      if (words.length === 0) throw new Error("a TXT record needs at least one string");
      const data = words.map(({ text }) => text).join("");
      if (Buffer.byteLength(data) > MAX_TXT) throw new Error(`a TXT record has at most ${MAX_TXT} octets`);
      return { type, data } as const;
    }
    case "TLSA": {
      const hex = words.slice(3).map(({ text }) => text).join("");
      if (!/^([0-9a-f]{2})+$/i.test(hex)) throw new Error("the last part of a TLSA record is written in hexadecimal");
      const [usage, selector, matchingType] = [number(words, 0, 255), number(words, 1, 255), number(words, 2, 255)];
      return { type, data: { usage, selector, matchingType, data: Uint8Array.from(Buffer.from(hex, "hex")) } } as const;
    }
    case "SOA":
      return {
        type,
        data: {
          primary: name(0),
          mailbox: name(1),
          serial: number(words, 2),
          refresh: number(words, 3),
          retry: number(words, 4),
          expire: number(words, 5),
          minimum: number(words, 6),
        },
      } as const;
    default:
      throw new Error(`"${type}" is not a type; use A, AAAA, CNAME, MX, NS, PTR, SOA, TLSA, TXT or BEHAVE`);
  }
}

function readBehaviour(words: readonly Word[]): Behaviour {
  const does = word(words, 0);
  switch (does) {
    case "servfail":
    case "refused":
    case "silent":
    case "truncate":
    case "wrong-id":
    case "wrong-question":
    case "authentic":
      return { does };
    case "late":
      return { does, milliseconds: number(words, 1) };
    default:
      throw new Error(
        `"${does}" is not a behaviour; use servfail, refused, silent, late MILLISECONDS, truncate, wrong-id, ` +
          "wrong-question or authentic",
      );
  }
}

function ownerName(text: string, origin: string): string {
  if (text === "@") return origin;
  if (text === ".") return "";
  const name = parseName(text.endsWith(".") || origin === "" ? text : `${text}.${origin}`);
  if (name === undefined) throw new Error(`"${text}" is not a name`);
  return name;
}

function word(words: readonly Word[], at: number): string {
  const found = words[at];
  if (found === undefined || found.quoted) throw new Error("something is missing at its end");
  return found.text;
}

function number(words: readonly Word[], at: number, most = MAX_NUMBER): number {
  const text = word(words, at), value = Number(text);
  if (!/^\d+$/.test(text) || value > most) throw new Error(`"${text}" is not a number from 0 to ${most}`);
  return value;
}

/** Words parted by blanks; `"` groups, a backslash takes the next character or three decimal digits as they are. */
function splitWords(line: string): Word[] {
  const words: Word[] = [];
  const pattern = /\s*(?:"((?:[^"\\]|\\.)*)"|;.*|([^\s";]+)|(\S))/gy;
  for (const [, quoted, plain, odd] of line.matchAll(pattern)) {
    if (odd !== undefined) throw new Error("a quotation mark without its partner");
    const text = quoted ?? plain;
    if (text !== undefined) words.push({ text: unescape(text), quoted: quoted !== undefined });
  }
  return words;
}

function unescape(text: string): string {
  return text.replace(
    /\\(\d{3}|.)/g,
    (_, sign: string) => sign.length === 3 ? String.fromCharCode(Number(sign)) : sign,
  );
}
