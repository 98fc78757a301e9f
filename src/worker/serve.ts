/** The side of worker/pool.ts that runs on the thread. */

import { reasonOf } from "../log.ts";
import type { FromWorker, ToWorker } from "./pool.ts";

/**
 * Takes the set-up once, answers every request, one after the other. What `prepare` or the handler throws goes back as
 * an error; its message must not hold secrets.
 */
export function serve<Setup, Request, Answer>(
  prepare: (setup: Setup) => (request: Request) => Answer | Promise<Answer>,
  transferOf: (answer: Answer) => Transferable[] = () => [],
): void {
  const scope = globalThis as unknown as {
    onmessage: ((event: MessageEvent<ToWorker<Setup, Request>>) => void) | null;
    postMessage(message: FromWorker<Answer>, transfer?: Transferable[]): void;
  };
  let handle: ((request: Request) => Answer | Promise<Answer>) | undefined;
  const answer = async (message: ToWorker<Setup, Request>) => {
    try {
      if ("setup" in message) {
        handle = prepare(message.setup);
        scope.postMessage({ ready: true });
      } else if (handle !== undefined) {
        const done = await handle(message.request);
        scope.postMessage({ answer: done }, transferOf(done));
      }
    } catch (error) {
      scope.postMessage({ error: reasonOf(error) });
    }
  };
  scope.onmessage = (event) => void answer(event.data);
}
