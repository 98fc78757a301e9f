/** A target in one word, for logs and listings. */

import type { Target } from "./entry.ts";

export function placeOf(target: Target): string {
  switch (target.to) {
    case "maildir":
      return target.path;
    case "lmtp":
      return `lmtp:${target.server} ${target.address}`;
    case "remote":
      return target.address;
    case "nowhere":
      return target.because;
    default:
      return target satisfies never;
  }
}
