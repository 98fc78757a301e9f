import { type Fault, soundnessOf } from "../backup/soundness.ts";
import { loadConfig } from "../config.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION } from "./arguments.ts";
import { openProgress } from "./progress.ts";
import type { Column } from "./table.ts";
import { formatJson, formatTable } from "./table.ts";

const COLUMNS: readonly Column<Fault>[] = [
  { head: "PART", cell: ({ part }) => part },
  { head: "PROBLEM", cell: ({ fault }) => fault },
];

export const verify: Command = {
  name: "verify",
  summary: "check that everything in the store can be read",
  examples: ["verify", "verify --json"],
  options: [JSON_OPTION],
  async run(_args, options, { configFile, out, note, colour }) {
    const { store, kv } = await loadConfig(configFile);
    const { faults, ...counts } = await (async () => {
      using progress = openProgress();
      return await soundnessOf({ store, ...kv !== undefined && { kv } }, (what) => progress.say(`Reading ${what}`));
    })();
    const { users, queued, mails } = counts, isSound = faults.length === 0;
    if (options.has("json")) out(formatJson({ store, ok: isSound, ...counts, problems: faults }));
    else {
      if (!isSound) out(formatTable(COLUMNS, faults, colour));
      note(
        `${store}: ${users} users, ${queued} messages in the queue, ${mails} in Maildirs, ${faults.length} problems.`,
      );
    }
    return isSound ? DONE : FAILED;
  },
};
