/**
 * Ids of messages: 9 characters of milliseconds since 1970 and 3 of a counter, in Crockford's base 32, lower case.
 * As text they sort by time. They are never given twice, even when the clock has jumped back: the journal would take
 * the second message for a newer copy of the first.
 */
const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
const TIME_DIGITS = 9, COUNTER_DIGITS = 3;
const COUNTER_END = 32 ** COUNTER_DIGITS;

export type NextId = () => string;

/** Ids above `last`, which is the highest one that the journal holds, if any. */
export function messageIds(now: () => number, last?: string): NextId {
  let time = last === undefined ? 0 : decode(last.slice(0, TIME_DIGITS));
  let counter = last === undefined ? -1 : decode(last.slice(TIME_DIGITS));
  return () => {
    const present = Math.floor(now());
    counter++;
    if (present > time) [time, counter] = [present, 0];
    else if (counter === COUNTER_END) [time, counter] = [time + 1, 0];
    return encode(time, TIME_DIGITS) + encode(counter, COUNTER_DIGITS);
  };
}

function encode(value: number, digits: number): string {
  let text = "";
  for (let i = 0; i < digits; i++) {
    text = DIGITS[value % 32] + text;
    value = Math.floor(value / 32);
  }
  return text;
}

function decode(text: string): number {
  let value = 0;
  for (const digit of text) value = value * 32 + Math.max(DIGITS.indexOf(digit), 0);
  return value;
}
