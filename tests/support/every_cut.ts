/** Feeds the same bytes whole, byte by byte, and in two pieces cut at each place. */
export function everyCut(bytes: Uint8Array, feed: (pieces: readonly Uint8Array[]) => void): void {
  feed([bytes]);
  feed(Array.from(bytes, (byte) => Uint8Array.of(byte)));
  for (let at = 1; at < bytes.length; at++) feed([bytes.slice(0, at), bytes.slice(at)]);
}

/** One character, one byte: so that a test can write any byte. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (sign) => sign.charCodeAt(0));
}

export function textOf(bytes: Uint8Array): string {
  // Not TextDecoder: what it calls latin1 is windows-1252.
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Small and repeatable: the same seed gives the same numbers in [0, 1). */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
