/** The header of a message (RFC 5322 §2.2), read by offsets: nothing of it is changed by being looked at. */

export interface Field {
  /** Lower case. */
  readonly name: string;
  /** Offsets of the field with its folded lines and the last CRLF: bytes[from, to). */
  readonly from: number;
  readonly to: number;
  /** Where the body of the field begins. */
  readonly value: number;
}

export interface Header {
  readonly fields: readonly Field[];
  /** Offset of the empty line, or of what is no field, or the end. */
  readonly end: number;
  /** False when something stands there that is neither a field nor an empty line: others may read on where we stop. */
  readonly closed: boolean;
}

export interface HeaderLimits {
  /** Octets. */
  readonly maxHeader: number;
  readonly maxFields: number;
  /** Lines of one folded field. */
  readonly maxFolds: number;
}

export type HeaderProblem = "too large" | "too many fields" | "folded too often" | "bare line end";

const CR = 13, LF = 10, COLON = 58, SPACE = 32, TAB = 9;
const ascii = new TextDecoder("latin1");
const utf8 = new TextDecoder("utf-8");

/** `bytes` begins with the message and holds at least its header, or `maxHeader` bytes. */
export function readHeader(bytes: Uint8Array, limits: HeaderLimits): Header | HeaderProblem {
  const fields: Field[] = [];
  let at = 0, folds = 0;
  while (at < bytes.length) {
    if (at > limits.maxHeader) return "too large";
    const lf = bytes.indexOf(LF, at);
    const to = lf < 0 ? bytes.length : lf + 1;
    if (lf >= 0 && (lf === at || bytes[lf - 1] !== CR)) return "bare line end";
    if (to - at <= 2 && bytes[at] === CR) break;
    const last = fields.at(-1);
    if (bytes[at] === SPACE || bytes[at] === TAB) {
      if (last === undefined) break;
      if (++folds > limits.maxFolds) return "folded too often";
      fields[fields.length - 1] = { ...last, to };
    } else {
      const colon = bytes.subarray(at, to).indexOf(COLON);
      const name = colon < 1 ? "" : ascii.decode(bytes.subarray(at, at + colon)).trimEnd().toLowerCase();
      if (!/^[!-9;-~]+$/.test(name)) break;
      if (fields.length >= limits.maxFields) return "too many fields";
      folds = 1;
      fields.push({ name, from: at, to, value: at + colon + 1 });
    }
    at = to;
  }
  const closed = at >= bytes.length || bytes[at] === CR;
  return at > limits.maxHeader ? "too large" : { fields, end: at, closed };
}

/** The unfolded value, trimmed. */
export function valueOf(bytes: Uint8Array, field: Field): string {
  return utf8.decode(bytes.subarray(field.value, field.to)).replace(/\r\n(?=[ \t])/g, "").trim();
}

/** The fields of these names, lower case. */
export function fieldsNamed({ fields }: Header, names: readonly string[]): Field[] {
  return fields.filter(({ name }) => names.includes(name));
}

/** The message's beginning without those fields. */
export function withoutFields(bytes: Uint8Array, fields: readonly Field[]): Uint8Array {
  if (fields.length === 0) return bytes;
  const kept = new Uint8Array(bytes.length - fields.reduce((sum, { from, to }) => sum + to - from, 0));
  let read = 0, written = 0;
  for (const { from, to } of fields) {
    kept.set(bytes.subarray(read, from), written);
    written += from - read;
    read = to;
  }
  kept.set(bytes.subarray(read), written);
  return kept;
}

/** The message's beginning with `lines` in place of the first of those fields, and without the others. */
export function withFieldsReplaced(bytes: Uint8Array, fields: readonly Field[], lines: string): Uint8Array {
  const [first] = fields;
  if (first === undefined) return bytes;
  const added = new TextEncoder().encode(lines), rest = withoutFields(bytes, fields).subarray(first.from);
  const all = new Uint8Array(first.from + added.length + rest.length);
  all.set(bytes.subarray(0, first.from));
  all.set(added, first.from);
  all.set(rest, first.from + added.length);
  return all;
}
