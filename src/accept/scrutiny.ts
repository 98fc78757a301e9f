/** What taking mail in asks of those who look at it. */

import type { Message } from "../check/message.ts";
import type { Judged } from "../check/scrutiny.ts";
import type { Sender } from "../smtp/command.ts";
import type { Hello } from "../smtp/effect.ts";
import type { Reply } from "../smtp/reply.ts";
import type { Step } from "../store/stories.ts";

/** Looks at what comes from outside (`check/scrutiny`). Undefined: nothing against it. */
export interface Scrutiny {
  arrives(): Promise<{ readonly refusal?: Reply; /** Milliseconds that the greeting waits. */ readonly delay: number }>;
  hello(hello: Hello): Promise<Reply | undefined>;
  sender(sender: Sender, hello: Hello): Promise<Reply | undefined>;
  unknownRecipient(): void;
  message(message: Message): Promise<Judged>;
  /** The message is ours. */
  accepted(): void;
  /** What was found so far. */
  steps(): readonly Step[];
  ended(protocolErrors: number): void;
}

/** Mail of our own users is not looked at like that of strangers. */
export const TRUSTING: Scrutiny = {
  arrives: () => Promise.resolve({ delay: 0 }),
  hello: () => Promise.resolve(undefined),
  sender: () => Promise.resolve(undefined),
  unknownRecipient: () => {},
  message: () => Promise.resolve({ score: -Infinity, trace: "", foreign: [], isBelieved: true, diesForwarded: false }),
  accepted: () => {},
  steps: () => [],
  ended: () => {},
};
