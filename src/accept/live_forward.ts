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

/** What the target said, in our name and without the address that mail is forwarded to when that is nobody's business. */
export function refusedLive(remote: RemoteReply, copies: readonly Copy[], setting: string): Reply {
  let text = remote.text;
  for (const { address, target } of copies) {
    if (target.to !== "remote" || !target.forward?.confidential) continue;
    text = text.replaceAll(new RegExp(RegExp.escape(target.address), "gi"), address);
  }
  const said = reply(remote.code, remote.enhanced, `Where this is forwarded to, it was refused: ${text}`.slice(0, 400));
  return because(said, "forward", `${remote.host} said: ${remote.code} ${remote.enhanced} ${remote.text}`, setting);
}
