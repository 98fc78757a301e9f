/**
 * How the commands reach the running server: a socket in the store folder, which only its owner can open. A connection
 * carries one request, a line of JSON `{ "do": "queue.list", … }`, behind which `size` bytes of a message may follow, and
 * one answer, again a line: `{ "ok": true, "value": … }` or `{ "ok": false, "error": "…" }`.
 */
import { join } from "node:path";
import { type Log, reasonOf } from "../log.ts";
import { Input, writeAll } from "./connection.ts";

export interface Request {
  readonly do: string;
  /** Bytes that follow. */
  readonly size?: number;
  readonly [field: string]: unknown;
}

/** Answers one kind of request with something that JSON can hold. What it throws becomes the error. */
export type Handler = (request: Request, body: AsyncIterable<Uint8Array>) => Promise<unknown>;

export type Answer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: string };

export interface ControlSettings {
  readonly store: string;
  /** By `do`. The parts of the server register here what they answer. */
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly log: Log;
  /** Largest message that may follow a request, in bytes. */
  readonly maxSize?: number;
  /** Milliseconds for the line of the request to come in, and for all that follows. */
  readonly requestTimeout?: number;
  readonly answerTimeout?: number;
}

// sun_path of Linux has 108 bytes with its NUL.
const MOST_PATH = 107;
const MOST_LINE = 1024 * 1024, MOST_ANSWER = 64 * 1024 * 1024, MOST_CONNECTIONS = 32;

export class Control {
  #settings: Required<ControlSettings>;
  readonly #listener: Deno.UnixListener;
  readonly #open = new Set<Deno.UnixConn>();
  #closed = false;
  readonly #accepting: Promise<void>;

  /** Takes the place of a socket that a dead server left; rejects when a living one answers there. */
  static async open(settings: ControlSettings): Promise<Control> {
    const path = socketPath(settings.store);
    if (new TextEncoder().encode(path).length > MOST_PATH) {
      throw new Error(
        `Cannot open the control socket "${path}": a path of a socket has at most ${MOST_PATH} bytes. ` +
          "Choose a shorter folder for `store`.",
      );
    }
    const living = await connect(path);
    if (living !== undefined) {
      living.close();
      throw new Error(`Cannot open the control socket "${path}": another server answers there. Stop it first.`);
    }
    await Deno.remove(path).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    return new Control(settings, listen(path));
  }

  private constructor(settings: ControlSettings, listener: Deno.UnixListener) {
    this.#settings = { maxSize: 64 * 1024 * 1024, requestTimeout: 60_000, answerTimeout: 10 * 60_000, ...settings };
    this.#listener = listener;
    this.#accepting = this.#accept();
  }

  /** For requests that come from now on. */
  configure({ maxSize }: { readonly maxSize: number }): void {
    this.#settings = { ...this.#settings, maxSize };
  }

  /** Ends all connections and takes the socket away. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await this.#accepting;
    await Deno.remove(socketPath(this.#settings.store)).catch(() => {}); // The listener has done so already.
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      try {
        const connection = await this.#listener.accept();
        if (this.#open.size >= MOST_CONNECTIONS) close(connection);
        else void this.#serve(connection);
      } catch (error) {
        if (this.#closed) return;
        // Too many open files, for one: that passes.
        this.#settings.log("error", "control-accept-failed", { error: reasonOf(error) });
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** Never rejects. */
  async #serve(connection: Deno.UnixConn): Promise<void> {
    const { log, requestTimeout, answerTimeout } = this.#settings;
    this.#open.add(connection);
    try {
      const input = new Input(connection);
      const line = await within(requestTimeout, input.line(MOST_LINE));
      // Raced, not only closed: a handler that hangs would hold its place among the connections for ever.
      const answer = async () => writeAll(connection, `${JSON.stringify(await this.#answer(line, input))}\n`);
      await within(answerTimeout, answer());
    } catch (error) {
      if (!this.#closed) log("debug", "control-connection-lost", { error: reasonOf(error) });
    } finally {
      close(connection);
      this.#open.delete(connection);
    }
  }

  async #answer(line: string, input: Input): Promise<Answer> {
    const { handlers, maxSize, log } = this.#settings;
    const request = parseRequest(line);
    if (request === undefined) return refusal("A request is one line of JSON with a `do`");
    const { size = 0 } = request, handler = handlers.get(request.do);
    if (handler === undefined) {
      return refusal(`The running server does not know "${request.do}". Restart it if it is older`);
    }
    if (size > maxSize) return refusal(`The message has ${size} bytes; at most ${maxSize} are allowed`);
    try {
      return { ok: true, value: await handler(request, input.bytes(size)) ?? null };
    } catch (error) {
      log("warning", "control-request-failed", { request: request.do, error: reasonOf(error) });
      return { ok: false, error: reasonOf(error) };
    }
  }
}

export function socketPath(store: string): string {
  return join(store, "control.sock");
}

/**
 * Asks the server that runs on this store. Rejects when it cannot be asked (permission), breaks off, or does not answer
 * within `timeout` ms.
 */
export async function askServer(
  store: string,
  request: Request,
  body?: AsyncIterable<Uint8Array>,
  timeout = 10 * 60_000,
): Promise<Answer | "not running"> {
  const connection = await connect(socketPath(store));
  if (connection === undefined) return "not running";
  try {
    const input = new Input(connection);
    // Both at once: the server may refuse before it has read all.
    const sent = send(connection, request, body).catch(() => {});
    const line = await within(timeout, input.line(MOST_ANSWER));
    close(connection);
    await sent;
    return JSON.parse(line);
  } catch (error) {
    throw new Error(`Cannot ask the running server over "${socketPath(store)}": ${reasonOf(error)}.`);
  } finally {
    close(connection);
  }
}

async function send(connection: Deno.UnixConn, request: Request, body?: AsyncIterable<Uint8Array>): Promise<void> {
  await writeAll(connection, `${JSON.stringify(request)}\n`);
  if (body !== undefined) { for await (const piece of body) await writeAll(connection, piece); }
}

/** Undefined when nobody listens there. */
async function connect(path: string): Promise<Deno.UnixConn | undefined> {
  try {
    return await Deno.connect({ transport: "unix", path });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused) return undefined;
    throw error;
  }
}

function listen(path: string): Deno.UnixListener {
  // Set before the socket exists: a chmod afterwards would leave a moment in which anybody could connect.
  const before = Deno.umask(0o177);
  try {
    return Deno.listen({ transport: "unix", path });
  } finally {
    Deno.umask(before);
  }
}

/** Rejects when `work` takes longer than `wait` ms. What it still does then, nobody waits for. */
async function within<T>(wait: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took longer than ${wait} ms`)), wait);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function parseRequest(line: string): Request | undefined {
  try {
    const request = JSON.parse(line);
    if (typeof request?.do !== "string") return undefined;
    if (request.size !== undefined && !(Number.isSafeInteger(request.size) && request.size >= 0)) return undefined;
    return request;
  } catch {
    return undefined;
  }
}

function refusal(why: string): Answer {
  return { ok: false, error: `${why}.` };
}

function close(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // It is closed.
  }
}
