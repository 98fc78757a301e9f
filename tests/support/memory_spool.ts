/** A spool that forgets all when the process ends; `reopen` is what a restart finds. Can be told to fail. */
import type { Content, Envelope, Recipient, Standing } from "../../src/queue/entry.ts";
import type { Stored } from "../../src/queue/ledger.ts";
import { Damaged, StoreFailed } from "../../src/queue/failures.ts";
import type { Entry } from "../../src/queue/spool.ts";

interface Stocked extends Entry {
  standings: Standing[];
  readonly message: Uint8Array;
}

export class MemorySpool implements Stored {
  /** Every append, in order: `commit 1`, `record 1`, `remove 1`, `setAside 1`. */
  readonly appends: string[] = [];
  /** Appends that fail before the next ones work. */
  failures = 0;
  /** From so many appends on, every further one fails. */
  most = Infinity;
  readonly damaged = new Set<string>();
  readonly #entries = new Map<string, Stocked>();
  #ids = 0;

  get size(): number {
    return this.#entries.size;
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  entry(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  content(id: string): Content {
    const { message } = this.#entries.get(id)!, broken = this.damaged.has(id);
    return {
      size: message.length,
      async *pieces() {
        await Promise.resolve();
        if (broken) throw new Damaged(`Checksum of message ${id} does not match`);
        yield message;
      },
    };
  }

  async record(id: string, standings: ReadonlyMap<number, Standing>): Promise<void> {
    await this.#append(`record ${id}`);
    const entry = this.#entries.get(id)!;
    entry.standings = entry.standings.map((was, index) => standings.get(index) ?? was);
  }

  async remove(id: string): Promise<void> {
    await this.#append(`remove ${id}`);
    this.#entries.delete(id);
  }

  async setAsideNow(id: string): Promise<void> {
    await this.#append(`setAside ${id}`);
    this.#entries.delete(id);
  }

  adopt(): Promise<Entry> {
    return Promise.reject(new Error("what adopts messages is tested with spools on disk"));
  }

  draft(): ReturnType<Stored["draft"]> {
    let message = new Uint8Array();
    return {
      write: (bytes: Uint8Array) => void (message = new Uint8Array([...message, ...bytes])),
      get start() {
        return message;
      },
      commit: (envelope: Envelope, start: Uint8Array) => this.put(envelope, start),
    };
  }

  async put(envelope: Envelope, message: Uint8Array | string = "Subject: hello\r\n\r\nbody\r\n"): Promise<Entry> {
    const id = String(++this.#ids);
    await this.#append(`commit ${id}`);
    const entry: Stocked = {
      id,
      // As it comes back from disk: nothing but what can be written down.
      envelope: structuredClone(envelope),
      standings: envelope.recipients.map(() => ({ state: "waiting", attempts: 0, due: envelope.arrived })),
      size: message.length,
      recovered: false,
      message: typeof message === "string" ? new TextEncoder().encode(message) : message,
    };
    this.#entries.set(id, entry);
    return entry;
  }

  /** What a new process finds after this one was killed. */
  reopen(): MemorySpool {
    const next = new MemorySpool();
    next.#ids = this.#ids;
    for (const [id, entry] of this.#entries) next.#entries.set(id, structuredClone({ ...entry, recovered: true }));
    for (const id of this.damaged) next.damaged.add(id);
    return next;
  }

  textOf(id: string): string {
    return new TextDecoder().decode(this.#entries.get(id)!.message);
  }

  async #append(what: string): Promise<void> {
    await Promise.resolve();
    if (this.failures > 0 || this.appends.length >= this.most) {
      this.failures--;
      throw new StoreFailed("No space left on device");
    }
    this.appends.push(what);
  }
}

/** An envelope from `ann@ours.test` to these; what is not an address at `ours.test` is remote. */
export function envelope(to: readonly (string | Recipient)[], more: Partial<Envelope> = {}): Envelope {
  return {
    sender: "ann@ours.test",
    recipients: to.map((recipient) =>
      typeof recipient !== "string" ? recipient : {
        address: recipient,
        target: recipient.endsWith("@ours.test")
          ? { to: "maildir", path: `/mail/${recipient}` }
          : { to: "remote", address: recipient },
      }
    ),
    body: "7BIT",
    smtputf8: false,
    source: { by: "submission", user: "ann@ours.test" },
    arrived: Date.UTC(2026, 0, 1),
    ...more,
  };
}
