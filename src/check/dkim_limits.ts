/** How much of a signature is looked at, and what a key may be: what is beyond costs the time of others. */

/** Signatures of a message: each costs a look-up and a public-key operation. */
export const MAX_SIGNATURES = 5;
/** Signs of a signature's `h=`, and of a whole signature. */
export const MAX_SIGNED = 4096, MAX_SIGNATURE = 16_384;
/** Octets of From, which is read on both threads. */
export const MAX_FROM = 8192;
/** RFC 8301 §3.2: below, nothing is verified; above, nobody has to, and it costs the time of many. */
export const MIN_BITS = 1024, MAX_BITS = 4096;
/**
 * Milliseconds by which the clock of a signer may be ahead of ours. A machine without NTP drifts by seconds a day; an
 * honest signature must not fail for that. One that was made for later is still refused today.
 */
export const CLOCK_SKEW = 5 * 60_000;

/** Signs of a key record, and of the key in it. */
const MAX_RECORD = 4096;
/** A key of 4096 bit has 736; what is much longer is another key, or one whose exponent is made to take time. */
const MAX_KEY = 1024;

/** False when a key record is too long to be read. */
export function isShort(record: string): boolean {
  return record.length <= MAX_RECORD && record.split(";").every((tag) => tag.length <= MAX_KEY);
}
