/** `maildemon queue adopt`. */

import { basename, dirname, join } from "node:path";
import { loadConfig } from "../config.ts";
import type { Adopted } from "../queue/adoption.ts";
import type { Command } from "./arguments.ts";
import { DONE } from "./arguments.ts";
import { counted, printable } from "./table.ts";
import { withQueue } from "./with_queue.ts";

export const adopt: Command = {
  name: "adopt",
  summary: "take over the queue of another server that will not come back",
  examples: ["queue adopt /mnt/old/var/lib/maildemon", "queue adopt /mnt/old/store --was /srv/maildemon"],
  arguments: [{ name: "dir", explain: "its store, or the folder queue in it; emptied, so it must be writable" }],
  options: [{
    name: "was",
    value: "PATH",
    explain: "where its store was on that machine: mail for Maildirs in it goes to those in our store (default: DIR)",
  }],
  async run(args, options, context) {
    const { store } = await loadConfig(context.configFile);
    const folder = await queueFolderIn(args.text("dir"));
    if (await Deno.realPath(join(store, "queue")).catch(() => undefined) === folder) {
      throw new Error(`${printable(folder)} is the queue of this server itself: name that of the other one.`);
    }
    const was = options.maybe("was") ?? dirname(folder);
    const request = { do: "queue.adopt", folder, from: was.replace(/(?<=.)\/+$/, ""), to: store };
    const { messages, resumed, damaged, maildirs, unfinished } = await withQueue(
      context,
      (ask) => ask(request),
    ) as Adopted;
    context.out(`${counted(Number(messages), "message")} adopted.`);
    if (resumed > 0) context.note(`Of these, an adoption that was broken off had begun with ${resumed}.`);
    if (damaged > 0) context.note(`${damaged} could not be read: see ${printable(join(folder, "damaged"))}.`);
    const outside = maildirs.filter((path) => !path.startsWith(`${store}/`));
    if (outside.length > 0) {
      context.note(
        `Some go to Maildirs outside of our store, as that server named them (see --was): ${
          outside.map(printable).join(", ")
        }`,
      );
    }
    for (const other of unfinished) {
      context.note(
        `Messages are held whose adoption from ${
          printable(other)
        } was broken off: adopt that as well. If it is empty ` +
          "or lost, let them go with queue release.",
      );
    }
    return DONE;
  },
};

/** Of a store, or the folder itself. Nothing is made: a slip of the pen must not look like an empty queue. */
async function queueFolderIn(dir: string): Promise<string> {
  for (const folder of [join(dir, "queue"), dir]) {
    if (basename(folder) === "queue" && await isFolder(folder)) return await Deno.realPath(folder);
  }
  throw new Error(`${printable(dir)} is neither the store of a maildemon nor the folder queue in one.`);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}
