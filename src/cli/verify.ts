import { type Fault, type Place, type Soundness, soundnessOf } from "../backup/soundness.ts";
import { loadConfig } from "../config.ts";
import type { Command } from "./arguments.ts";
import { DONE, FAILED, JSON_OPTION } from "./arguments.ts";
import { withAdvice } from "./missing_rights.ts";
import { openProgress } from "./progress.ts";
import { asOwner } from "./store_owner.ts";
import type { Column } from "./table.ts";
import { counted, formatJson, formatTable } from "./table.ts";

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
    const { faults, ...counts } = await soundness({ store, ...kv !== undefined && { kv } });
    const { users, queued, mails } = counts, isSound = faults.length === 0;
    if (options.has("json")) out(formatJson({ store, ok: isSound, ...counts, problems: faults }));
    else {
      if (!isSound) out(formatTable(COLUMNS, faults, colour));
      note(
        `${store}: ${counted(users, "user")}, ${counted(queued, "message")} in the queue, ${mails} in Maildirs, ` +
          `${counted(faults.length, "problem")}.`,
      );
    }
    return isSound ? DONE : FAILED;
  },
};

async function soundness(place: Place): Promise<Soundness> {
  using progress = openProgress();
  try {
    // A link in the store leads no further than its owner gets.
    return await asOwner(place.store, () => soundnessOf(place, (what) => progress.say(`Reading ${what}`)));
  } catch (error) {
    throw withAdvice(error, place.store);
  }
}
