/** What is wrong with a configuration, and where. */

export interface Problem {
  /** As the caller named it. */
  readonly file: string;
  /** From 1; 0 when the problem is the file itself. */
  readonly line: number;
  /** `listeners[0].address`; empty when the problem has no key. */
  readonly key: string;
  /** What is wrong, what is allowed. Without a full stop. */
  readonly message: string;
}

/** The way to a value: table names, and the index of an element, counted from 0. */
export type KeyPath = readonly (string | number)[];

/** `listeners[0].address`. Quotes what TOML would have to quote, so two paths never look the same. */
export function formatKey(path: KeyPath): string {
  let key = "";
  for (const step of path) {
    if (typeof step === "number") key += `[${step}]`;
    else key += `${key === "" ? "" : "."}${/^[A-Za-z0-9_-]+$/.test(step) ? step : JSON.stringify(step)}`;
  }
  return key;
}

/** One line for each problem: `FILE:LINE: key: what is wrong, what is allowed`. */
export function reportProblems(problems: readonly Problem[]): string {
  return problems.map(({ file, line, key, message }) =>
    [line === 0 ? file : `${file}:${line}`, key, message].filter((part) => part !== "").join(": ")
  ).join("\n");
}
