import type { Submission } from "../accept/submit.ts";
import { type Config, loadConfig } from "../config.ts";
import { silent } from "../log.ts";
import { Closing } from "../server/closing.ts";
import { openStories } from "../server/inspection.ts";
import { openReception } from "../server/reception.ts";
import { openStorage } from "../server/storage.ts";
import { askServer } from "../status/control.ts";
import type { Decision } from "../store/stories.ts";
import { type Command, DONE, FAILED } from "./arguments.ts";
import { asOwner } from "./store_owner.ts";
import { printable } from "./table.ts";

export const send: Command = {
  name: "send",
  summary: "send a message from standard input as a user, like sendmail -t -i",
  examples: [
    "send --user ann@example.com bob@example.org < message.txt",
    "printf 'From: ann@example.com\\nTo: bob@example.org\\nSubject: done\\n\\n' | maildemon send",
  ],
  arguments: [{
    name: "recipient",
    explain: "an address besides those in To, Cc and Bcc",
    optional: true,
    many: true,
  }],
  options: [{ name: "user", value: "ADDRESS", explain: "login to send as; default: whose address stands in From" }],
  async run(args, options, { configFile, out, note }) {
    const config = await loadConfig(configFile);
    const message = new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
    const recipients = args.list("recipient"), user = options.maybe("user");
    const request = { recipients, ...(user !== undefined && { user }) };
    const answer = await asOwner(
      config.store,
      () =>
        askServer(
          config.store,
          { do: "send", size: message.length, ...request },
          ReadableStream.from([message]),
        ),
    );
    if (answer === "not running") {
      // Into the journal itself: the server finds it when it starts.
      out(await asOwner(config.store, () => submitHere(config, { message, ...request })));
      return DONE;
    }
    if (answer.ok) out(printable(String(answer.value)));
    else note(answer.error);
    return answer.ok ? DONE : FAILED;
  },
};

/** The text of the reply. Rejects with NotSent. */
async function submitHere(config: Config, submission: Submission): Promise<string> {
  const closing = new Closing(silent);
  try {
    const stories = closing.add(openStories(config, silent), (stories) => stories.close());
    const storage = closing.add(await openStorage(config, silent), (storage) => storage.close());
    const parts = {
      log: silent,
      accepted: () => {},
      firstAttempt: () => Promise.resolve(undefined),
      tell: (decision: Decision) => stories.decision(decision),
    };
    const reception = closing.add(await openReception(config, storage, parts), (reception) => reception.close());
    return (await reception.submit(submission)).lines.join(" ");
  } finally {
    await closing.close();
  }
}
