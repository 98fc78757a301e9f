/** What a client of TLS says first (RFC 8446 §4.1.2), as far as the challenge tls-alpn-01 wants to know. */

export interface ClientHello {
  /** The whole message, for the transcript. */
  readonly message: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly cipherSuites: readonly number[];
  readonly versions: readonly number[];
  /** In lower case. */
  readonly serverName: string | undefined;
  readonly protocols: readonly string[];
  /** By group. */
  readonly keyShares: ReadonlyMap<number, Uint8Array>;
}

const HANDSHAKE = 22, CLIENT_HELLO = 1;
/** RFC 8446 §4.2. */
const SERVER_NAME = 0, ALPN = 16, SUPPORTED_VERSIONS = 43, KEY_SHARE = 51;

/** `received`: all bytes so far. Undefined while the message is not whole; throws when it is none. */
export function readClientHello(received: Uint8Array): ClientHello | undefined {
  const message = firstMessage(received);
  if (message === undefined) return undefined;
  const hello = new Reader(message);
  hello.skip(4); // Its type and length.
  hello.skip(2 + 32); // The version of old, and the random bytes.
  const sessionId = hello.vector(1).rest();
  const cipherSuites = numbers(hello.vector(2));
  hello.vector(1); // Compression, which there is none of.
  const extensions = new Map<number, Reader>();
  for (const all = hello.vector(2); !all.isEmpty;) extensions.set(all.number(2), all.vector(2));
  const inside = (type: number) => extensions.get(type) ?? new Reader(new Uint8Array(0));

  const names = inside(SERVER_NAME), versions = inside(SUPPORTED_VERSIONS), shares = inside(KEY_SHARE);
  return {
    message,
    sessionId,
    cipherSuites,
    versions: versions.isEmpty ? [] : numbers(versions.vector(1)),
    serverName: names.isEmpty ? undefined : serverName(names.vector(2)),
    protocols: texts(inside(ALPN)),
    keyShares: shares.isEmpty ? new Map() : keyShares(shares.vector(2)),
  };
}

/** It may lie in several records (RFC 8446 §5.1). */
function firstMessage(received: Uint8Array): Uint8Array | undefined {
  const message = new Uint8Array(received.length);
  let length = 0;
  for (let at = 0; received.length >= at + 5;) {
    const count = received[at + 3]! << 8 | received[at + 4]!;
    if (received[at] !== HANDSHAKE || count === 0) throw new RangeError("this is no TLS");
    if (received.length < at + 5 + count) return undefined;
    message.set(received.subarray(at + 5, at += 5 + count), length);
    length += count;
    if (message[0] !== CLIENT_HELLO) throw new RangeError("this is no ClientHello");
    const end = length < 4 ? Infinity : 4 + (message[1]! << 16 | message[2]! << 8 | message[3]!);
    if (length >= end) return message.subarray(0, end);
  }
  return undefined;
}

function numbers(reader: Reader): number[] {
  const found: number[] = [];
  while (!reader.isEmpty) found.push(reader.number(2));
  return found;
}

function texts(reader: Reader): string[] {
  const found: string[] = [];
  if (reader.isEmpty) return found;
  for (const all = reader.vector(2); !all.isEmpty;) found.push(String.fromCharCode(...all.vector(1).rest()));
  return found;
}

/** RFC 6066 §3: the one host name among them. */
function serverName(reader: Reader): string | undefined {
  while (!reader.isEmpty) {
    const type = reader.number(1), name = reader.vector(2).rest();
    if (type === 0) return String.fromCharCode(...name).toLowerCase();
  }
  return undefined;
}

function keyShares(reader: Reader): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  while (!reader.isEmpty) found.set(reader.number(2), reader.vector(2).rest());
  return found;
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Throws a RangeError where there is less than what was announced. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(count: number): void {
    this.#take(count);
  }

  /** Of so many octets. */
  number(octets: number): number {
    return this.#take(octets).reduce((value, octet) => value * 256 + octet, 0);
  }

  /** What has its length before it, in so many octets. */
  vector(octets: number): Reader {
    return new Reader(this.#take(this.number(octets)));
  }

  rest(): Uint8Array {
    return this.#take(this.#bytes.length - this.#at);
  }

  #take(count: number): Uint8Array {
    if (this.#bytes.length - this.#at < count) throw new RangeError("the ClientHello is cut off");
    return this.#bytes.subarray(this.#at, this.#at += count);
  }
}
