/** What commands of root do in a store while no server runs: `deno run … tests/cli/owner_child.ts STORE`. */

import { join } from "node:path";
import { asOwner } from "../../src/cli/store_owner.ts";
import { openKv } from "../../src/store/kv.ts";
import { letter, store as storeLetter, withSpool } from "../queue/spooled.ts";

const [store = ""] = Deno.args;
await asOwner(store, async () => {
  const kv = await openKv({ store });
  // The process ends without closing it: -wal and -shm stay.
  await kv.set(["test"], 1);
  await withSpool(join(store, "queue"), (spool) => storeLetter(spool, letter(1000)));
});
// Root again.
await Deno.writeTextFile(`${store}.done`, "");
Deno.exit(0);
