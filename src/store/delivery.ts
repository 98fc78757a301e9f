/** One way in which a user gets mail, as it stands in the record: `maildir`, `maildir:PATH`, `forward:ADDRESS`. */

import { isAbsolute, join, normalize } from "node:path";
import type { Mailbox } from "../smtp/address.ts";
import { formatMailbox } from "../smtp/address.ts";
import { demandMailbox, Refused } from "./people.ts";

export type Delivery =
  | { readonly by: "own maildir" }
  | { readonly by: "maildir"; /** Absolute, or relative to the mail folder; normalized. */ readonly path: string }
  | { readonly by: "forward"; readonly to: Mailbox };

/** Throws Refused with what is wrong and what is allowed. */
export function demandDelivery(text: string): Delivery {
  if (text === "maildir") return { by: "own maildir" };
  const cut = text.indexOf(":");
  const rest = text.slice(cut + 1);
  switch (cut < 0 ? "" : text.slice(0, cut)) {
    case "forward":
      return { by: "forward", to: demandMailbox(rest, "The forward target") };
    case "maildir":
      return { by: "maildir", path: demandFolder(rest) };
    case "lmtp":
      throw new Refused(`Delivery ${JSON.stringify(text)} is not possible yet: this version has no LMTP.`);
    default:
      throw new Refused(
        `Delivery ${JSON.stringify(text)} is unknown: write maildir, maildir:PATH or forward:ADDRESS.`,
      );
  }
}

/** The form in which it is kept. */
export function formatDelivery(delivery: Delivery): string {
  switch (delivery.by) {
    case "own maildir":
      return "maildir";
    case "maildir":
      return `maildir:${delivery.path}`;
    case "forward":
      return `forward:${formatMailbox(delivery.to)}`;
    default:
      return delivery satisfies never;
  }
}

export function folderOf(path: string, mailFolder: string): string {
  return isAbsolute(path) ? path : join(mailFolder, path);
}

function demandFolder(path: string): string {
  const shown = JSON.stringify(path);
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(path)) throw new Refused(`The Maildir ${shown} contains control characters.`);
  // An absolute path is the administrator's word; a relative one must not turn out to be somewhere else.
  if (path.split("/").includes("..")) throw new Refused(`The Maildir ${shown} must not contain "..".`);
  const folder = normalize(path).replace(/\/+$/, "");
  if (path === "" || folder === "" || folder === ".") {
    throw new Refused(
      `The Maildir ${shown} must name a folder: absolute, or relative to the mail folder of the store.`,
    );
  }
  return folder;
}
