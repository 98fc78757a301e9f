/**
 * A forward that is tried while its sender waits: what the target refuses is refused here, and the server that brought
 * it tells its own user. So nobody gets a bounce for mail that he has not sent.
 */

import type { RemoteReply } from "../queue/entry.ts";
import { because, type Reply, reply } from "../smtp/reply.ts";
import type { Copy } from "./copies.ts";

/** The setting that says so, when every copy is forwarded that way; else one answer could not speak for all. */
export function liveSetting(copies: readonly Copy[]): string | undefined {
  const [first] = copies;
  const live = copies.every(({ target, forwarding }) => target.to === "remote" && forwarding?.live !== undefined);
  return live ? first?.forwarding?.live : undefined;
}

/** What the target said, as the queue lets it be said, in our name. */
export function refusedLive({ code, enhanced, host, text }: RemoteReply, setting: string): Reply {
  const refused = "Where this is forwarded to, it was refused";
  const said = reply(code, enhanced, text === "" ? refused : `${refused}: ${text}`.slice(0, 400));
  return because(said, "forward", `${host || "the next server"} said: ${code} ${enhanced} ${text}`, setting);
}
