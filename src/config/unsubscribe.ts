/** The keys of [unsubscribe]. */

import { optional, type Place, table, type Values } from "./table.ts";
import { path, webUrl } from "./value.ts";

const UNSUBSCRIBE = {
  webhook: optional(webUrl, "https://example.com/hooks/unsubscribe", "Called for each who unsubscribes ..."),
  secret_file: optional(path, "secrets/webhook", "... and signed with what is in this file."),
  url: optional(
    webUrl,
    "https://mail.example.com/unsubscribe",
    "Where others reach /unsubscribe/ of the status server, through your reverse proxy.",
  ),
};

const MAX_URL = 200;

export const unsubscribe = table(UNSUBSCRIBE, webhookWithSecret);

function webhookWithSecret({ webhook, secret_file, url }: Values<typeof UNSUBSCRIBE>, place: Place): void {
  // A token goes behind it, and the line has to stay below 998 octets.
  if (url !== undefined && (url.includes("?") || url.length > MAX_URL)) {
    place.below("url").fail(`must be at most ${MAX_URL} characters, without "?", got "${url.slice(0, 80)}"`);
  }
  if ((webhook === undefined) === (secret_file === undefined)) return;
  const [there, missing] = webhook === undefined ? ["secret_file", "webhook"] : ["webhook", "secret_file"];
  place.below(there).fail(`needs ${missing} beside it; write both or none`);
}
