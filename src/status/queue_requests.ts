/** The queue commands as requests: the running server answers them, and so does a command while no server runs. */
import type { Adoption } from "../queue/adoption.ts";
import type { Queue } from "../queue/queue.ts";
import type { Selection } from "../queue/selection.ts";
import type { Handler, Request } from "./control.ts";

export function queueHandlers(queue: Queue): Map<string, Handler> {
  const changing = ["retry", "hold", "release", "drop", "bounce"] as const;
  return new Map<string, Handler>([
    ["queue.list", (request) => Promise.resolve(queue.byHand.list(selectionOf(request), limitOf(request)))],
    ["queue.count", (request) => Promise.resolve(queue.byHand.count(selectionOf(request)))],
    ["queue.show", ({ id }) => Promise.resolve(queue.byHand.show(String(id)) ?? null)],
    ["queue.stats", () => Promise.resolve(queue.stats())],
    ["queue.adopt", (request) => queue.byHand.adopt(adoptionOf(request))],
    ...changing.map((
      verb,
    ): [string, Handler] => [`queue.${verb}`, (request) => queue.byHand[verb](selectionOf(request))]),
  ]);
}

/** A condition of the wrong kind must not vanish: with fewer conditions more messages are meant. */
function selectionOf({ selection }: Request): Selection {
  if (typeof selection !== "object" || selection === null) throw new Error("The request names no messages.");
  const meant: { -readonly [Key in keyof Selection]: Selection[Key] } = {};
  for (const [key, value] of Object.entries(selection)) {
    if (key === "all" && value === true) meant.all = true;
    else if ((key === "from" || key === "to" || key === "domain") && typeof value === "string") meant[key] = value;
    else if (key === "ids" && Array.isArray(value) && value.every((id) => typeof id === "string")) meant.ids = value;
    else throw new Error(`The request selects by ${JSON.stringify(key)}, which this server does not know.`);
  }
  return meant;
}

function adoptionOf({ folder, from, to }: Request): Adoption {
  if (typeof folder !== "string" || folder === "") throw new Error("The request names no folder.");
  if (from === undefined && to === undefined) return { folder };
  if (typeof from !== "string" || typeof to !== "string") throw new Error("The request names half of a move.");
  return { folder, moved: { from, to } };
}

function limitOf({ limit }: Request): number | undefined {
  return typeof limit === "number" && limit >= 0 ? limit : undefined;
}
