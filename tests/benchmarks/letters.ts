/** The letter that is sent, with and without a signature, and the zone that vouches for it. */

import { join } from "node:path";
import { dkimRecord, dkimRecordName, generateDkimKey } from "../../src/send/dkim_key.ts";
import { prepareKey, signatureFields } from "../../src/send/dkim_signature.ts";

// Not below `test`, of which OpenDKIM's resolver knows by itself that it does not exist.
const DOMAIN = "remote.example", SELECTOR = "s1";
export const SENDER = `carol@${DOMAIN}`, HELLO = `client.${DOMAIN}`, RECIPIENT = "ann@dev.test";
const BODY_SIZE = 4096;

export interface Letters {
  /** Files for `smtp-source -F`, with Unix line ends. */
  readonly unsigned: string;
  readonly signed: string;
  /** The file of the zone. */
  readonly zone: string;
}

/** RSA of 2048 bits, relaxed/relaxed: what most mail is signed with. */
export async function writeLetters(folder: string): Promise<Letters> {
  const files = { unsigned: join(folder, "unsigned"), signed: join(folder, "signed"), zone: join(folder, "zone") };
  const pem = await generateDkimKey("rsa"), text = letter();
  const key = prepareKey({ domain: DOMAIN, selector: SELECTOR, pem });
  const fields = signatureFields(new TextEncoder().encode(text), [key], Date.now());
  await Deno.writeTextFile(files.unsigned, text.replaceAll("\r\n", "\n"));
  await Deno.writeTextFile(files.signed, (fields + text).replaceAll("\r\n", "\n"));
  await Deno.writeTextFile(files.zone, zoneText(dkimRecord(pem)));
  return files;
}

function letter(): string {
  const header = [
    `From: Carol <${SENDER}>`,
    `To: Ann <${RECIPIENT}>`,
    "Subject: Minutes of Tuesday",
    `Date: ${new Date().toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <minutes.1@${DOMAIN}>`,
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: 7bit",
  ];
  const line = "We met on Tuesday, and what we said there is written down below.\r\n";
  return `${header.join("\r\n")}\r\n\r\n${line.repeat(Math.round(BODY_SIZE / line.length))}`;
}

/** 127.0.0.1 is forward-confirmed, may send for the domain, and is on no list. */
function zoneText(dkim: string): string {
  const strings = (dkim.match(/.{1,255}/g) ?? []).map((part) => `"${part}"`).join(" ");
  return `$TTL 3600
example. SOA ns.test. hostmaster.test. 1 3600 600 86400 3600
ns.test. A 127.0.0.1
${DOMAIN}. SOA ns.test. hostmaster.test. 1 3600 600 86400 3600
${DOMAIN}. MX 10 ${HELLO}.
${DOMAIN}. TXT "v=spf1 ip4:127.0.0.0/8 -all"
${dkimRecordName(DOMAIN, SELECTOR)}. TXT ${strings}
_dmarc.${DOMAIN}. TXT "v=DMARC1; p=reject"
${HELLO}. A 127.0.0.1
127.in-addr.arpa. SOA ns.test. hostmaster.test. 1 3600 600 86400 3600
1.0.0.127.in-addr.arpa. PTR ${HELLO}.
dnsbl.test. SOA ns.test. hostmaster.test. 1 3600 600 86400 3600
2.0.0.127.dnsbl.test. A 127.0.0.2
mail.dev.test. A 127.0.0.1
`;
}
