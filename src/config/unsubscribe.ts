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

export const unsubscribe = table(UNSUBSCRIBE, webhookWithSecret);

function webhookWithSecret({ webhook, secret_file }: Values<typeof UNSUBSCRIBE>, place: Place): void {
  if ((webhook === undefined) === (secret_file === undefined)) return;
  const [there, missing] = webhook === undefined ? ["secret_file", "webhook"] : ["webhook", "secret_file"];
  place.below(there).fail(`needs ${missing} beside it; write both or none`);
}
