/** DNS messages as bytes (RFC 1035 §4, RFC 6891). The only door to dns-packet. */

import { Buffer } from "node:buffer";
import dnsPacket from "dns-packet";
import { isHostName, parseName } from "./name.ts";
import type { DnsRecord } from "./records.ts";

export interface Question {
  /** Lower case, without a final dot. */
  readonly name: string;
  /** `MX`; what has no name here is `UNKNOWN_65`. */
  readonly type: string;
  /** `IN`, nearly always. */
  readonly class: string;
}

export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  /** RFC 4035 §3.2.3: the server found it all to be properly signed, or, in a query, wants to be asked whether. */
  readonly authentic: boolean;
  /** With the upper bits of EDNS. 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED. */
  readonly code: number;
  readonly question: Question;
  /** Of the types in `DnsRecord` and class IN only, and no more than MAX_RECORDS. */
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  /** Records were left out of the answers because they name something that cannot be a host. */
  readonly unusable?: true;
  /** Octets that the other side takes by UDP, when it speaks EDNS. */
  readonly udpSize?: number;
  /** What stands behind the question cannot be understood. */
  readonly broken?: true;
}

/** Of one section. More do not come from honest zones, and each one more is work that a stranger gives us. */
const MAX_RECORDS = 200;
/** Fits in one datagram on every path (RFC 9715 §3, which lowered it to 1400 at most). */
const UDP_SIZE = 1232;
const HEADER = 12, QR = 1 << 15, AA = 1 << 10, TC = 1 << 9, RD = 1 << 8, RA = 1 << 7, AD = 1 << 5, DO = 1 << 15;
const TYPES = new Map<number, DnsRecord["type"] | "OPT">([
  [1, "A"],
  [2, "NS"],
  [5, "CNAME"],
  [6, "SOA"],
  [12, "PTR"],
  [15, "MX"],
  [16, "TXT"],
  [28, "AAAA"],
  [41, "OPT"],
  [52, "TLSA"],
]);

/** What we use of dns-packet, which has no types of its own. `bytes` is what the last call consumed. */
interface Decoder<T> {
  (bytes: Buffer, offset: number): T;
  readonly bytes: number;
}
interface Codec {
  encode(message: unknown): Uint8Array;
  readonly question: { readonly decode: Decoder<Question> };
  readonly answer: { readonly decode: Decoder<RawRecord> };
}
type RawRecord =
  & { readonly name: string; readonly ttl: number }
  & (
    | { readonly type: "A" | "AAAA" | "CNAME" | "NS" | "PTR"; readonly data: string }
    | { readonly type: "MX"; readonly data: { readonly exchange: string; readonly preference: number } }
    | { readonly type: "SOA"; readonly data: RawSoa }
    | { readonly type: "TLSA"; readonly data: RawTlsa }
    | { readonly type: "TXT"; readonly data: readonly Buffer[] }
  );
interface RawSoa extends Readonly<Record<"serial" | "refresh" | "retry" | "expire" | "minimum", number>> {
  readonly mname: string;
  readonly rname: string;
}
interface RawTlsa extends Readonly<Record<"usage" | "selector" | "matchingType", number>> {
  readonly certificate: Buffer;
}
const codec: Codec = dnsPacket;

/** `dnssec` asks the server to say whether the answer is authenticated. */
export function encodeQuery(id: number, { name, type }: Pick<Question, "name" | "type">, dnssec: boolean): Uint8Array {
  return codec.encode({
    type: "query",
    id,
    flags: RD | (dnssec ? AD : 0),
    questions: [{ name, type, class: "IN" }],
    additionals: [{ type: "OPT", name: ".", udpPayloadSize: UDP_SIZE, flags: dnssec ? DO : 0, options: [] }],
  });
}

/** What a name server says. */
export function encodeReply(message: Omit<Message, "response">): Uint8Array {
  const { id, question, answers, authorities, authoritative, truncated, authentic, code, udpSize } = message;
  const flags = RD | RA | (authoritative ? AA : 0) | (truncated ? TC : 0) | (authentic ? AD : 0) | (code & 15);
  return codec.encode({
    type: "response",
    id,
    flags,
    questions: [{ ...question }],
    answers: answers.map(encodable),
    authorities: authorities.map(encodable),
    additionals: udpSize === undefined
      ? []
      : [{ type: "OPT", name: ".", udpPayloadSize: udpSize, extendedRcode: code >> 4, options: [] }],
  });
}

function encodable(record: DnsRecord) {
  switch (record.type) {
    case "MX":
      return { ...record, data: { ...record.data } };
    case "SOA": {
      const { primary, mailbox, ...times } = record.data;
      return { ...record, data: { mname: primary, rname: mailbox, ...times } };
    }
    case "TLSA":
      return { ...record, data: { ...record.data, certificate: Buffer.from(record.data.data) } };
    case "TXT":
      return { ...record, data: chunks(Buffer.from(record.data)) };
    default:
      return record;
  }
}

/** RFC 1035 §3.3: a character-string has at most 255 octets. */
function chunks(text: Buffer): Buffer[] {
  const list: Buffer[] = [];
  for (let at = 0; at < text.length || at === 0; at += 255) list.push(text.subarray(at, at + 255));
  return list;
}

/** Undefined when not even header and question can be read: nobody can say then which query it belongs to. */
export function decodeMessage(packet: Uint8Array): Message | undefined {
  const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
  if (bytes.length < HEADER || bytes.readUInt16BE(4) !== 1) return undefined;
  const flags = bytes.readUInt16BE(2);
  let question: Question, rest: number;
  try {
    const { name, type, class: group } = codec.question.decode(bytes, HEADER);
    question = { name: plain(name), type, class: group };
    rest = HEADER + codec.question.decode.bytes;
  } catch {
    return undefined;
  }
  const head = {
    id: bytes.readUInt16BE(0),
    response: (flags & QR) !== 0,
    authoritative: (flags & AA) !== 0,
    truncated: (flags & TC) !== 0,
    authentic: (flags & AD) !== 0,
    code: flags & 15,
    question,
  };
  try {
    const { extendedCode, ...sections } = decodeSections(bytes, rest);
    return { ...head, ...sections, code: extendedCode << 4 | head.code };
  } catch {
    return { ...head, answers: [], authorities: [], broken: true };
  }
}

/** Throws when the packet is not well-formed. */
function decodeSections(bytes: Buffer, start: number) {
  const answers: DnsRecord[] = [], authorities: DnsRecord[] = [], additionals: DnsRecord[] = [];
  let at = start, extendedCode = 0, udpSize: number | undefined, unusable = false;
  for (const [index, section] of [answers, authorities, additionals].entries()) {
    for (let left = bytes.readUInt16BE(6 + 2 * index); left > 0; left--) {
      // The bounds of each record are found before dns-packet sees it: its decoders read on where a length says
      // more than there is, and then begin again at the start of the packet.
      const fixed = skipName(bytes, at);
      const end = fixed + 10 + bytes.readUInt16BE(fixed + 8);
      if (end > bytes.length) throw new RangeError("A record ends behind its packet");
      const type = TYPES.get(bytes.readUInt16BE(fixed)), group = bytes.readUInt16BE(fixed + 2);
      if (type === "OPT") {
        // RFC 6891 §6.1.3: class and TTL of this one mean other things.
        udpSize = group;
        extendedCode = bytes.readUInt8(fixed + 4);
      } else if (type !== undefined && group === 1 && section !== additionals && section.length < MAX_RECORDS) {
        const record = decodeRecord(bytes, at, end);
        if (record !== undefined) section.push(record);
        else unusable ||= section === answers;
      }
      at = end;
    }
  }
  return {
    answers,
    authorities,
    extendedCode,
    ...(udpSize === undefined ? {} : { udpSize }),
    ...(unusable ? { unusable } : {}),
  };
}

/** Offset behind the name that stands at `at`. Pointers are not followed. */
function skipName(bytes: Buffer, at: number): number {
  for (;;) {
    const length = bytes.readUInt8(at);
    if (length >= 0xc0) return at + 2;
    if (length > 63) throw new RangeError("A label of a kind that does not exist");
    at += 1 + length;
    if (length === 0) return at;
  }
}

/** Undefined when it names something that cannot be a host: one such record does not spoil the others. */
function decodeRecord(bytes: Buffer, at: number, end: number): DnsRecord | undefined {
  const raw = codec.answer.decode(bytes, at);
  if (codec.answer.decode.bytes !== end - at) throw new RangeError("A record is longer or shorter than it says");
  // RFC 2181 §8: a TTL with the highest bit set is zero.
  const head = { name: plain(raw.name), ttl: raw.ttl > 0x7fffffff ? 0 : raw.ttl };
  switch (raw.type) {
    case "A":
    case "AAAA":
      return { ...head, type: raw.type, data: raw.data };
    case "CNAME": {
      const target = parseName(raw.data);
      return target === undefined ? undefined : { ...head, type: "CNAME", data: target };
    }
    case "NS":
    case "PTR": {
      const name = plain(raw.data);
      return isHostName(name) ? { ...head, type: raw.type, data: name } : undefined;
    }
    case "MX": {
      const exchange = plain(raw.data.exchange), { preference } = raw.data;
      // SPF asks for exchanges by any name; who sends mail to them takes hosts only (`Resolver.mx`).
      return exchange === "" || parseName(exchange) === exchange
        ? { ...head, type: "MX", data: { exchange, preference } }
        : undefined;
    }
    case "SOA": {
      const { mname, rname, serial, refresh, retry, expire, minimum } = raw.data;
      const names = { primary: plain(mname), mailbox: plain(rname) };
      return { ...head, type: "SOA", data: { ...names, serial, refresh, retry, expire, minimum } };
    }
    case "TLSA": {
      const { usage, selector, matchingType, certificate } = raw.data;
      // A copy: a view would keep the whole packet in memory for as long as the cache remembers it.
      return { ...head, type: "TLSA", data: { usage, selector, matchingType, data: Uint8Array.from(certificate) } };
    }
    case "TXT":
      return { ...head, type: "TXT", data: Buffer.concat(raw.data).toString("utf8") };
    default:
      raw satisfies never;
      return undefined;
  }
}

function plain(name: string): string {
  return name === "." ? "" : name.toLowerCase();
}
