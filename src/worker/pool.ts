/**
 * Work that takes the processor for milliseconds, on other threads: while a signature is made or a hostile header is
 * parsed, the sessions go on. A job that does not end is ended together with its thread.
 *
 * `Request` and `Answer` are what structured clone can carry. The other side is worker/serve.ts.
 */

export interface WorkerPoolSettings {
  /** Threads. They are started when there is work for them. */
  readonly workers: number;
  /** Milliseconds that one job may take on its thread. */
  readonly deadline: number;
  /** Milliseconds that a thread may take to start. */
  readonly start: number;
  /** Jobs that may wait for a thread, and for how many milliseconds. */
  readonly waiting: number;
  readonly patience: number;
}

export const WORKER_POOL: WorkerPoolSettings = {
  workers: 2,
  deadline: 5_000,
  start: 20_000,
  waiting: 1_000,
  patience: 30_000,
};

/** What goes to a thread: once how to prepare, then jobs. */
export type ToWorker<Setup, Request> = { readonly setup: Setup } | { readonly request: Request };
/** What comes back: once that it is ready, then one answer for each job. */
export type FromWorker<Answer> = { readonly ready: true } | { readonly answer: Answer } | { readonly error: string };

interface Job<Request, Answer> {
  readonly request: Request;
  readonly transfer: Transferable[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

interface Thread<Request, Answer> {
  readonly worker: Worker;
  ready: boolean;
  job: Job<Request, Answer> | undefined;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export class WorkerPool<Setup, Request, Answer> {
  readonly #threads = new Set<Thread<Request, Answer>>();
  readonly #waiting: Job<Request, Answer>[] = [];
  #closed = false;

  constructor(
    /** `() => new Worker(new URL("./sign.ts", import.meta.url), { type: "module" })` */
    private readonly startWorker: () => Worker,
    /** Sent to each thread before its first job: what is prepared once and not with every job. */
    private readonly setup: Setup,
    private readonly settings: WorkerPoolSettings = WORKER_POOL,
  ) {}

  /**
   * Does one job. What is in `transfer` belongs to the thread from now on. Rejects when the thread said it failed,
   * broke or took too long, when too many wait, and after `close()`.
   */
  run(request: Request, transfer: readonly Transferable[] = []): Promise<Answer> {
    if (this.#closed) return Promise.reject(new Error("The workers are stopped."));
    if (this.#waiting.length >= this.settings.waiting) {
      return Promise.reject(new Error(`${this.settings.waiting} jobs wait for a worker already; try again later.`));
    }
    return new Promise((resolve, reject) => {
      const job: Job<Request, Answer> = { request, transfer: [...transfer], resolve, reject, timer: undefined };
      job.timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(job), 1);
        reject(new Error(`No worker was free within ${this.settings.patience} ms.`));
      }, this.settings.patience);
      this.#waiting.push(job);
      this.#dispatch();
    });
  }

  /** Stops all threads. What is not done yet is rejected. */
  close(): void {
    this.#closed = true;
    for (const thread of this.#threads) this.#stop(thread, new Error("The workers are stopped."));
    for (const job of this.#waiting.splice(0)) {
      clearTimeout(job.timer);
      job.reject(new Error("The workers are stopped."));
    }
  }

  #dispatch(): void {
    if (this.#waiting.length === 0 || this.#closed) return;
    let starting = 0;
    for (const thread of this.#threads) {
      if (thread.job !== undefined) continue;
      if (!thread.ready) {
        starting++;
        continue;
      }
      const job = this.#waiting.shift();
      if (job === undefined) return;
      this.#give(thread, job);
    }
    // A thread that is still starting will take one of those that wait.
    if (this.#waiting.length > starting && this.#threads.size < this.settings.workers) this.#start();
  }

  #give(thread: Thread<Request, Answer>, job: Job<Request, Answer>): void {
    clearTimeout(job.timer);
    thread.job = job;
    const { deadline } = this.settings;
    thread.timer = setTimeout(() => this.#fail(thread, `A worker took more than ${deadline} ms.`), deadline);
    try {
      thread.worker.postMessage({ request: job.request } satisfies ToWorker<Setup, Request>, job.transfer);
    } catch (error) {
      this.#settle(thread); // It could not be cloned: the caller's mistake, and no harm to the thread.
      job.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #start(): void {
    const thread: Thread<Request, Answer> = {
      worker: this.startWorker(),
      ready: false,
      job: undefined,
      timer: undefined,
    };
    this.#threads.add(thread);
    const { start } = this.settings;
    thread.timer = setTimeout(() => this.#fail(thread, `A worker did not start within ${start} ms.`), start);
    thread.worker.onmessage = (event: MessageEvent<FromWorker<Answer>>) => this.#hear(thread, event.data);
    thread.worker.onmessageerror = () => this.#fail(thread, "A worker sent what cannot be read.");
    thread.worker.onerror = (event) => {
      event.preventDefault(); // Otherwise it ends the process.
      this.#fail(thread, `A worker broke: ${event.message}`);
    };
    thread.worker.postMessage({ setup: this.setup } satisfies ToWorker<Setup, Request>);
  }

  #hear(thread: Thread<Request, Answer>, message: FromWorker<Answer>): void {
    if ("ready" in message) {
      clearTimeout(thread.timer);
      thread.ready = true;
    } else if (!thread.ready) {
      this.#fail(thread, "error" in message ? message.error : "A worker answered before it was ready.");
      return;
    } else {
      const job = this.#settle(thread);
      if ("error" in message) job?.reject(new Error(message.error));
      else job?.resolve(message.answer);
    }
    this.#dispatch();
  }

  #settle(thread: Thread<Request, Answer>): Job<Request, Answer> | undefined {
    clearTimeout(thread.timer);
    const { job } = thread;
    thread.job = undefined;
    return job;
  }

  #fail(thread: Thread<Request, Answer>, why: string): void {
    const started = thread.ready;
    this.#stop(thread, new Error(why));
    // A thread that cannot even start would be started again and again: let one waiting job hear why each time.
    if (!started) {
      const job = this.#waiting.shift();
      clearTimeout(job?.timer);
      job?.reject(new Error(why));
    }
    this.#dispatch();
  }

  #stop(thread: Thread<Request, Answer>, error: Error): void {
    if (!this.#threads.delete(thread)) return;
    const job = this.#settle(thread);
    thread.worker.onmessage = thread.worker.onmessageerror = null;
    thread.worker.onerror = (event) => event.preventDefault();
    thread.worker.terminate();
    job?.reject(error);
  }
}
