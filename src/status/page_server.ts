/**
 * HTTP for those who look at pages: one request on each connection, few at a time, each for a short time. The link to
 * unsubscribe is for everybody: who opened connections and kept silent would take the files that mail needs. `Deno.serve`
 * knows no such limits, and ends for good when there are too many open files.
 */

import { Input, writeAll } from "./connection.ts";

export type Respond = (request: Request) => Response | Promise<Response>;

/** Of too many callers the one who has been here longest has to go. Milliseconds for a call, all in all. */
const LIMITS = { callers: 200, call: 15_000 };
/** Octets for all that stands before the body. */
const MAX_HEAD = 16_384;
/** Milliseconds until one tries again to let somebody in. */
const PAUSE = 200;

export class PageServer {
  readonly #listener: Deno.TcpListener;
  readonly #respond: Respond;
  readonly #limits: typeof LIMITS;
  readonly #callers = new Set<Deno.Conn>();
  readonly #answering = new Set<Promise<void>>();
  readonly #accepting: Promise<void>;
  #closed = false;

  /** Throws as the system does when the port cannot be had. */
  constructor(hostname: string, port: number, respond: Respond, limits = LIMITS) {
    this.#listener = Deno.listen({ hostname, port });
    this.#respond = respond;
    this.#limits = limits;
    this.#accepting = this.#accept();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** Settles when those who have asked have their answer. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listener.close();
    await Promise.allSettled([this.#accepting, ...this.#answering]);
    for (const caller of [...this.#callers]) this.#end(caller);
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      try {
        const caller = await this.#listener.accept();
        if (this.#callers.size >= this.#limits.callers) this.#end(this.#callers.values().next().value);
        void this.#serve(caller);
      } catch {
        if (this.#closed) return;
        // Too many open files, for one: that passes.
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  /** Never rejects. */
  async #serve(caller: Deno.Conn): Promise<void> {
    this.#callers.add(caller);
    const timer = setTimeout(() => this.#end(caller), this.#limits.call);
    try {
      const request = await readRequest(new Input(caller));
      const answering = this.#answer(caller, request);
      this.#answering.add(answering);
      await answering.finally(() => this.#answering.delete(answering));
      // What comes behind it is read and dropped: closing over it would lose the answer.
      const rest = new Uint8Array(4096);
      while (!this.#closed && await caller.read(rest) !== null);
    } catch {
      // Gone, or too late.
    } finally {
      clearTimeout(timer);
      this.#end(caller);
    }
  }

  #end(caller: Deno.Conn | undefined): void {
    if (caller !== undefined && this.#callers.delete(caller)) caller.close();
  }

  async #answer(caller: Deno.Conn, request: Request | undefined): Promise<void> {
    const { status, headers, body } = await this.#responseTo(request);
    const fields = [...headers, ["Date", new Date().toUTCString()], ["Content-Length", body.length]]
      .map(([name, value]) => `${name}: ${value}\r\n`).join("");
    await writeAll(caller, `HTTP/1.1 ${status} \r\n${fields}Connection: close\r\n\r\n`);
    if (request?.method !== "HEAD") await writeAll(caller, body);
    await caller.closeWrite();
  }

  async #responseTo(request: Request | undefined) {
    const failed = (status: number, text: string) => ({ status, headers: [] as string[][], body: encoded(text) });
    if (request === undefined) return failed(400, "This is not understood.\n");
    try {
      const response = await this.#respond(request);
      return { status: response.status, headers: [...response.headers], body: await response.bytes() };
    } catch {
      return failed(500, "Something is wrong here.\n");
    }
  }
}

/** Undefined when it is none. Rejects when it does not come to its end. */
async function readRequest(input: Input): Promise<Request | undefined> {
  const lines: string[] = [];
  let left = MAX_HEAD;
  for (;;) {
    const line = (await input.line(left)).replace(/\r$/, "");
    if (line === "") break;
    left = Math.max(0, left - line.length);
    lines.push(line);
  }
  const [first = "", ...fields] = lines,
    [, method = "", target = ""] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(first) ?? [];
  try {
    const headers = new Headers(fields.map((field): [string, string] => {
      const at = field.indexOf(":");
      return [field.slice(0, at), field.slice(at + 1).trim()];
    }));
    const body = method === "GET" || method === "HEAD" ? null : ReadableStream.from(bodyOf(input, headers));
    return new Request(new URL(target.replace(/^\/+/, "/"), "http://localhost"), { method, headers, body });
  } catch {
    return undefined;
  }
}

/** RFC 9112 §6.3. */
async function* bodyOf(input: Input, headers: Headers): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  if (!/\bchunked$/i.test(headers.get("transfer-encoding") ?? "")) {
    yield* input.bytes(Number(headers.get("content-length") ?? 0));
    return;
  }
  for (;;) {
    const size = parseInt(await input.line(MAX_HEAD), 16);
    if (!(size > 0)) return;
    yield* input.bytes(size);
    await input.line(2);
  }
}

function encoded(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
