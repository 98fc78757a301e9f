/** The victim of adopt_test.ts: adopts the journal in the second folder into that in the first, until it is killed. */
import { idleQueue } from "../../src/cli/with_queue.ts";
import { silent } from "../../src/log.ts";
import { Spool } from "../../src/queue/spool.ts";

const [ours = "", theirs = ""] = Deno.args;
const spool = await Spool.open({ folder: ours, log: silent });
console.log("ready");
await idleQueue(spool).byHand.adopt({ folder: theirs });
await spool.close();
