/** Asks the person at the terminal; what is piped into us answers when there is none. Questions go to standard error. */

import { Refused } from "../store/people.ts";

export interface Prompt {
  /**
   * A password: typed without echo (twice, when it is a new one), or one line of standard input. Throws Refused when
   * the two differ or nothing comes.
   */
  password(question: string, kind: "new" | "known"): Promise<string>;
  /** True for yes. Without a terminal nobody can be asked: throws Refused that names `--yes`. */
  confirm(question: string): Promise<boolean>;
  /** What is typed, or `proposal` when it is nothing. Without a terminal likewise. */
  ask(question: string, proposal: string): Promise<string>;
  /**
   * One line that is piped into us. Undefined at a terminal, at the end of the pipe, and when nothing has come within
   * ten seconds: of a script that does not care, standard input may be anything.
   */
  piped(what: string): Promise<string | undefined>;
}

/** What a prompt needs of standard input; Deno.stdin has it. */
export interface Keyboard {
  read(buffer: Uint8Array): Promise<number | null>;
  isTerminal(): boolean;
  setRaw(raw: boolean): void;
}

const MAX_LINE = 4096;
/** Milliseconds. */
const PIPE_PATIENCE = 10_000;
const INTERRUPT = 0x03, END = 0x04, BELL_BACK = 0x08, CLEAR = 0x15, DELETE = 0x7f, CR = 0x0d, LF = 0x0a;

/** No deadline here: a person may think as long as they like, and a pipe ends. */
export function openPrompt(keyboard: Keyboard, say: (text: string) => void): Prompt {
  const bytes = new Bytes(keyboard);

  async function hidden(question: string): Promise<string> {
    // The echo first: whoever answers as soon as the question is there would see it.
    keyboard.setRaw(true);
    try {
      say(question);
      return await typed(bytes);
    } finally {
      keyboard.setRaw(false);
      say("\n");
    }
  }

  return {
    async password(question, kind) {
      if (!keyboard.isTerminal()) return await line(bytes, "a password");
      const first = await hidden(`${question}: `);
      if (kind === "new" && await hidden(`${question}, once more: `) !== first) {
        throw new Refused("The two passwords differ: none was set.");
      }
      return first;
    },
    async confirm(question) {
      if (!keyboard.isTerminal()) throw new Refused("Nobody can be asked without a terminal: say --yes to do it.");
      say(`${question} [y/N] `);
      return /^y(es)?$/i.test((await line(bytes, "an answer")).trim());
    },
    async ask(question, proposal) {
      if (!keyboard.isTerminal()) {
        throw new Refused("Nobody can be asked without a terminal: say --yes to take what is proposed.");
      }
      say(`${question} [${proposal}] `);
      return (await line(bytes, "an answer")).trim() || proposal;
    },
    async piped(what) {
      if (keyboard.isTerminal()) return undefined;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<undefined>((done) => timer = setTimeout(done, PIPE_PATIENCE, undefined));
      try {
        return await Promise.race([late, bytes.ended().then((ended) => ended ? undefined : line(bytes, what))]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** One byte after the other, so that what stands behind a line is there for the next question. */
class Bytes {
  readonly #keyboard: Keyboard;
  #have = new Uint8Array();

  constructor(keyboard: Keyboard) {
    this.#keyboard = keyboard;
  }

  async ended(): Promise<boolean> {
    while (this.#have.length === 0) {
      const buffer = new Uint8Array(1024);
      const count = await this.#keyboard.read(buffer);
      if (count === null) return true;
      this.#have = buffer.subarray(0, count);
    }
    return false;
  }

  async next(): Promise<number | undefined> {
    if (await this.ended()) return undefined;
    const [byte] = this.#have;
    this.#have = this.#have.subarray(1);
    return byte;
  }
}

async function line(bytes: Bytes, what: string): Promise<string> {
  const read: number[] = [];
  for (;;) {
    const byte = await bytes.next();
    if (byte === undefined && read.length === 0) throw new Refused(`Standard input ended: ${what} was expected there.`);
    if (byte === undefined || byte === LF) break;
    if (read.push(byte) > MAX_LINE) throw new Refused(`The line on standard input is too long for ${what}.`);
  }
  return decode(read).replace(/\r$/, "");
}

/** The terminal is raw here: it hands us every key and does nothing itself. */
async function typed(bytes: Bytes): Promise<string> {
  let read: number[] = [];
  for (;;) {
    const byte = await bytes.next();
    switch (byte) {
      case undefined:
      case END:
      case INTERRUPT:
        throw new Refused("Cancelled: no password was set.");
      case CR:
      case LF:
        return decode(read);
      case BELL_BACK:
      case DELETE:
        // Back over the bytes 10xxxxxx to the one that began the character.
        while ((read.pop() ?? 0) >> 6 === 0b10);
        break;
      case CLEAR:
        read = [];
        break;
      default:
        if (read.push(byte) > MAX_LINE) throw new Refused("That is too long for a password.");
    }
  }
}

function decode(bytes: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    throw new Refused("What was entered is not UTF-8.");
  }
}
