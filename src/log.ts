/** One event, one line. Everything that reaches it is escaped here, and nowhere else. */

export type Level = "debug" | "info" | "warning" | "error";
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Writes one event: `event` in words of mail with hyphens (`message-queued`), then its fields in the order given. */
export type Log = (level: Level, event: string, fields?: Fields) => void;

const RANK: Readonly<Record<Level, number>> = { debug: 0, info: 1, warning: 2, error: 3 };

export interface LogSettings {
  readonly level: Level;
  readonly format: "text" | "json";
  /** Takes one whole line without its end. Default: standard error. */
  readonly write?: (line: string) => void;
}

export function openLog({ level, format, write = toStandardError }: LogSettings): Log {
  const line = format === "json" ? jsonLine : textLine;
  return (rank, event, fields = {}) => {
    if (RANK[rank] >= RANK[level]) write(line(new Date().toISOString(), rank, event, fields));
  };
}

const utf8 = new TextEncoder();

/** At once, so that nothing is missing when the process ends; and whoever reads it no longer must not stop the server. */
function toStandardError(line: string): void {
  try {
    const bytes = utf8.encode(`${line}\n`);
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch { /* nobody reads it */ }
}

/** For tests and one-off commands that report in another way. */
export const silent: Log = () => {};

function textLine(time: string, level: Level, event: string, fields: Fields): string {
  let line = `${time} ${level} ${event}`;
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) line += ` ${key}=${quote(String(value))}`;
  return line;
}

function jsonLine(time: string, level: Level, event: string, fields: Fields): string {
  return JSON.stringify({ time, level, event, ...fields });
}

/** Bare where it can be; otherwise a JSON string, so that no peer can forge a field or a line. */
function quote(text: string): string {
  // Unicode controls and line separators count too: some terminals obey them.
  return /^[\w.:@<>\/+\-\[\]]+$/.test(text) ? text : JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The text of whatever was thrown. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
