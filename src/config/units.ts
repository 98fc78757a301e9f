/** Sizes and durations as people write them: `"25MiB"`, `"24h"`. A number without a unit is never guessed at. */

/** From the largest to the smallest: in this order a number is looked at when it is written out. */
export type Units = ReadonlyMap<string, number>;

/** To bytes. */
export const SIZES: Units = new Map([
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["MB", 1_000_000],
  ["KiB", 2 ** 10],
  ["kB", 1000],
  ["B", 1],
]);

/** To milliseconds. */
export const DURATIONS: Units = new Map([["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]]);

/** The number of bytes or milliseconds; undefined unless it is digits and a unit, as in `25MiB`. */
export function parseQuantity(text: string, units: Units): number | undefined {
  const [, digits, unit] = /^(\d{1,15})([A-Za-z]+)$/.exec(text) ?? [];
  const factor = units.get(unit ?? "");
  return factor === undefined ? undefined : Number(digits) * factor;
}

/** In the largest unit that leaves no remainder: 262144 bytes are `256KiB`. */
export function formatQuantity(amount: number, units: Units): string {
  const [unit, factor] = [...units].find(([, factor]) => amount > 0 && amount % factor === 0) ?? [...units].at(-1)!;
  return `${amount / factor}${unit}`;
}

/** Other ways in which people write the units. What is not here, such as months, is not guessed at. */
const SPELLINGS: readonly (readonly [unit: string, spelling: RegExp])[] = [
  ["B", /^b(ytes?)?$/i],
  ["kB", /^kb$/i],
  ["KiB", /^k(ib)?$/i],
  ["MB", /^mb$/i],
  ["MiB", /^m(ib)?$/i],
  ["GiB", /^g(i?b)?$/i],
  ["ms", /^(ms|msecs?|milliseconds?)$/i],
  ["s", /^s(ecs?|econds?)?$/i],
  ["m", /^m(ins?|inutes?)?$/i],
  ["h", /^h(rs?|ours?)?$/i],
  ["d", /^d(ays?)?$/i],
];

/**
 * How to write what was probably meant: `25 mib` is `25MiB`, and a bare `25` has the first unit with which it `fits`.
 * Undefined when there is no telling.
 */
export function meantQuantity(text: string, units: Units, fits: (amount: number) => boolean): string | undefined {
  const [, digits, written = ""] = /^\s*(\d{1,15})\s*([A-Za-z]*)\s*$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  // Nobody who leaves the unit out means powers of ten.
  const plain = [...units.keys()].filter((unit) => unit !== "kB" && unit !== "MB");
  const meant = written === ""
    ? plain.findLast((unit) => fits(Number(digits) * units.get(unit)!))
    : SPELLINGS.find(([unit, spelling]) => units.has(unit) && spelling.test(written))?.[0];
  return meant === undefined ? undefined : `${digits}${meant}`;
}
