/** One way in which a user gets mail, as in the record: `maildir`, `maildir:PATH`, `forward:ADDRESS`, `lmtp:SERVER`. */

import { isAbsolute, join, normalize } from "node:path";
import type { Mailbox } from "../smtp/address.ts";
import { formatMailbox, parseDomain } from "../smtp/address.ts";
import { parseIp } from "../smtp/network.ts";
import { demandMailbox, Refused } from "./people.ts";

export type Delivery =
  | { readonly by: "own maildir" }
  | { readonly by: "maildir"; /** Absolute, or relative to the mail folder; normalized. */ readonly path: string }
  | { readonly by: "lmtp"; /** `HOST:PORT` or `unix:PATH`. */ readonly server: string }
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
      return { by: "lmtp", server: demandServer(rest) };
    default:
      throw new Refused(
        `Delivery ${
          JSON.stringify(text)
        } is unknown: write maildir, maildir:PATH, forward:ADDRESS, lmtp:HOST:PORT or ` +
          "lmtp:unix:PATH.",
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
    case "lmtp":
      return `lmtp:${delivery.server}`;
    default:
      return delivery satisfies never;
  }
}

export function folderOf(path: string, mailFolder: string): string {
  return isAbsolute(path) ? path : join(mailFolder, path);
}

// sockaddr_un of Linux has 108 bytes, the last of which is a NUL.
const MAX_SOCKET_PATH = 107;

function demandServer(server: string): string {
  const shown = JSON.stringify(server);
  if (server.startsWith("unix:")) {
    const path = server.slice("unix:".length);
    // deno-lint-ignore no-control-regex
    const isOdd = /[\x00-\x1f\x7f]/.test(path) || path.split("/").includes("..");
    const isLong = new TextEncoder().encode(path).length > MAX_SOCKET_PATH;
    if (!isAbsolute(path) || path.endsWith("/") || isOdd || isLong) {
      throw new Refused(
        `The socket ${shown} must be written like unix:/run/dovecot/lmtp: an absolute path without "..", ` +
          `of at most ${MAX_SOCKET_PATH} bytes.`,
      );
    }
    return server;
  }
  const [, written = "", digits = ""] = /^(.*):(\d{1,5})$/.exec(server) ?? [];
  const host = parseHost(written), port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535) {
    throw new Refused(
      `The LMTP server ${shown} must be written like 127.0.0.1:24, [::1]:24, mail.internal:24 or ` +
        "unix:/run/dovecot/lmtp.",
    );
  }
  return `${host}:${port}`;
}

/** A name as it is looked up, an IPv4 address, or an IPv6 address in brackets; undefined when it is none of them. */
function parseHost(text: string): string | undefined {
  const six = /^\[(.*:.*)\]$/.exec(text)?.[1];
  if (six !== undefined) return parseIp(six) && text.toLowerCase();
  if (text.startsWith("[")) return undefined;
  const name = parseDomain(text);
  // RFC 3696 §2: no name ends in a label of digits, so that it can be told from an address.
  return name !== undefined && /(?:^|\.)\d+$/.test(name) && parseIp(name) === undefined ? undefined : name;
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
