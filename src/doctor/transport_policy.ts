/** MTA-STS (RFC 8461): a policy that does not name our server keeps mail away from us. */

import { Buffer } from "node:buffer";
import https from "node:https";
import type { Dns } from "../dns/records.ts";
import { type Finding, fine, noAnswer, recordsIn, wrong } from "./finding.ts";
import { reasonOf } from "../log.ts";
import { lookUpHost } from "./questions.ts";

export interface PolicySettings {
  /** 443; and whom to trust besides the well-known authorities, in PEM. Others in tests. */
  readonly port: number;
  readonly authority?: string;
  /** Milliseconds. */
  readonly patience: number;
}

// RFC 8461 §3.3: more than this need not be read.
const MAX_POLICY = 64 * 1024;

/** Undefined when the domain has no such policy. */
export async function checkTransportPolicy(
  domain: string,
  hostname: string,
  settings: PolicySettings,
  dns: Dns,
): Promise<Finding | undefined> {
  const subject = { topic: "mta-sts", about: domain } as const;
  const answer = recordsIn(await dns.txt(`_mta-sts.${domain}`));
  if ("reason" in answer) return noAnswer(subject, answer.reason);
  const records = answer.records.filter((text) => /^v=STSv1(?=;|\s|$)/.test(text)), [record] = records;
  if (record === undefined) return undefined;
  const remove = `Correct it, or remove the TXT record of _mta-sts.${domain}: then nobody asks for a policy.`;
  if (records.length > 1 || !/;\s*id=[a-z0-9]{1,32}\s*(;|$)/i.test(record)) {
    const found = records.length > 1 ? `there are ${records.length} records` : `the record has no id=: ${record}`;
    return wrong(subject, "sts-record", found, remove);
  }
  const host = `mta-sts.${domain}`, { addresses: [address], reason } = await lookUpHost(host, dns);
  if (address === undefined && reason !== undefined) return noAnswer(subject, reason);
  let text: string;
  try {
    if (address === undefined) throw new Error(`${host} has no address`);
    text = await fetchPolicy(host, address, settings);
  } catch (error) {
    const why = reasonOf(error);
    return wrong(subject, "sts-policy", `https://${host}/.well-known/mta-sts.txt cannot be had: ${why}`, remove);
  }
  const fields = text.split(/\r?\n/).map((line) => line.split(/:(.*)/s).map((part) => part.trim()));
  const valuesOf = (key: string) =>
    fields.filter(([name]) => name === key).map(([, value = ""]) => value.toLowerCase());
  const [version] = valuesOf("version"), [mode = ""] = valuesOf("mode"), names = valuesOf("mx");
  if (version !== "stsv1" || !["enforce", "testing", "none"].includes(mode)) {
    return wrong(subject, "sts-policy", "the policy has no version: STSv1, or no mode that is known", remove);
  }
  if (mode === "none") return fine(subject, "the policy asks for nothing (mode: none)");
  if (names.some((name) => isNamed(hostname, name))) return fine(subject, `names ${hostname} (mode: ${mode})`);
  return wrong(
    subject,
    "sts-without-us",
    `the policy names ${names.join(", ") || "no server"}, and not ${hostname}`,
    `Add the line "mx: ${hostname}" to it, and give the TXT record a new id.`,
  );
}

/** RFC 8461 §4.1: a star stands for exactly one label. */
function isNamed(hostname: string, pattern: string): boolean {
  return pattern === hostname || pattern.startsWith("*.") && hostname.split(/\.(.*)/s)[1] === pattern.slice(2);
}

/** RFC 8461 §3.3: no redirects, and only with a certificate that can be believed. */
function fetchPolicy(host: string, address: string, { port, authority, patience }: PolicySettings): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.get({
      // Its address is what our own name servers say.
      host: address,
      servername: host,
      port,
      path: "/.well-known/mta-sts.txt",
      headers: { host },
      agent: false,
      ...(authority !== undefined && { ca: authority }),
    });
    const fail = (why: string) => {
      clearTimeout(timer);
      request.destroy();
      reject(new Error(why));
    };
    const timer = setTimeout(() => fail(`no answer within ${Math.ceil(patience / 1000)} s`), patience);
    request.on("error", (error) => fail(error.message));
    request.on("response", (response) => {
      if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
      const pieces: Uint8Array[] = [];
      let size = 0;
      response.on("data", (piece: Uint8Array) => {
        pieces.push(piece);
        size += piece.length;
        if (size > MAX_POLICY) fail(`it has more than ${MAX_POLICY} bytes`);
      });
      response.on("end", () => {
        clearTimeout(timer);
        resolve(Buffer.concat(pieces).toString());
      });
    });
  });
}
