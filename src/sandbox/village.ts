/** The little world of `maildemon dev`: domains that exist nowhere else, each with one way to behave. */

export interface Inhabitant {
  readonly domain: string;
  readonly about: string;
}

/** What a person can try, in the order in which it is shown. Every other name does not exist. */
export const INHABITANTS: readonly Inhabitant[] = [
  { domain: "remote.test", about: "takes all mail, and lets this machine send its own" },
  { domain: "plain.test", about: "has no MX record, only an address" },
  { domain: "nomail.test", about: "takes no mail at all (null MX)" },
  { domain: "forged.test", about: "lets nobody send its mail: what claims to come from it is refused" },
  { domain: "strict.test", about: "lets this machine send its mail, and wants refused what nobody vouches for" },
  { domain: "broken.test", about: "its name servers fail: mail waits in the queue" },
];

const LOOPBACK_SENDS = '"v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"';

/** The zone as text. `dkim`: name and text of the record of our own key. Addresses are those of RFC 5737: nobody's. */
export function villageZone(dkim: { readonly name: string; readonly record: string }): string {
  const record = dkim.record.match(/.{1,250}/g)?.map((part) => `"${part}"`).join(" ") ?? '""';
  return `
$TTL 60
dev.test.              MX   10 mail.dev.test.
dev.test.              TXT  ${LOOPBACK_SENDS}
_dmarc.dev.test.       TXT  "v=DMARC1; p=reject"
mail.dev.test.         A    127.0.0.1
${dkim.name}.  TXT  ${record}

remote.test.           MX   10 mx1.remote.test.
remote.test.           MX   20 mx2.remote.test.
remote.test.           TXT  ${LOOPBACK_SENDS}
mx1.remote.test.       A    192.0.2.1
mx1.remote.test.       AAAA 2001:db8::1
mx2.remote.test.       A    192.0.2.2

plain.test.            A    198.51.100.1
plain.test.            TXT  ${LOOPBACK_SENDS}

nomail.test.           MX   0 .
nomail.test.           TXT  "v=spf1 -all"

forged.test.           MX   10 mx.forged.test.
forged.test.           TXT  "v=spf1 -all"
_dmarc.forged.test.    TXT  "v=DMARC1; p=reject"
mx.forged.test.        A    203.0.113.1

strict.test.           MX   10 mx.strict.test.
strict.test.           TXT  ${LOOPBACK_SENDS}
_dmarc.strict.test.    TXT  "v=DMARC1; p=reject"
mx.strict.test.        A    203.0.113.2

broken.test.           BEHAVE servfail
*.broken.test.         BEHAVE servfail
`;
}
