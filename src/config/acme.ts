/** The keys of [tls.acme]. */

import { key, list, optional, type Place, table, type Values } from "./table.ts";
import { choice, flag, fullHostName, listenAddress, mailbox, path, webUrl } from "./value.ts";

const ACME = {
  agree_to_terms: optional(flag, true, "You have read the terms of service of the authority, and accept them."),
  email: optional(mailbox, "ann@example.com", "Where the authority may write to about the account."),
  directory: key(
    webUrl,
    "https://acme-v02.api.letsencrypt.org/directory",
    "The authority; for trials https://acme-staging-v02.api.letsencrypt.org/directory, which nobody trusts.",
  ),
  challenge: key(
    choice("http-01", "tls-alpn-01"),
    "http-01",
    "How it sees that the names are ours: it calls them on port 80 (http-01) or on port 443 (tls-alpn-01).",
  ),
  listen: optional(
    listenAddress(80),
    "[::]:80",
    "Where those calls arrive, while one is awaited; none: that port on all addresses.",
  ),
  names: key(
    list(fullHostName, { distinct: { text: (name) => name } }),
    [],
    "Names in the certificate; none: the hostname alone.",
  ),
  directory_ca: optional(
    path,
    "tls/authority.pem",
    "Certificates in PEM by which a private authority is known over HTTPS.",
  ),
};

export const acme = table(ACME, termsAgreedTo);

function termsAgreedTo({ agree_to_terms }: Values<typeof ACME>, place: Place): void {
  if (agree_to_terms === true) return;
  place.below("agree_to_terms").fail(
    "must be true: read the terms of service of the authority (https://letsencrypt.org/repository/ for Let's " +
      "Encrypt), and write agree_to_terms = true if you accept them",
  );
}
