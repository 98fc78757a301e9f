/** One order of a certificate (RFC 8555 §7.4), from the account to the chain. The only door to acme-client. */

import { generateKeyPair, type KeyObject, X509Certificate } from "node:crypto";
import { promisify } from "node:util";
import type * as AcmeClient from "acme-client";
import { openAlpnChallenge } from "./alpn_challenge.ts";
import type { ProvedBy } from "./alpn_handshake.ts";
import { type Held, holding } from "./acme_folder.ts";
import { openAcmeHttp } from "./acme_http.ts";
import { OrderFailed, orderFailed, Problem, problemOf } from "./acme_problem.ts";
import type { AcmeSettings, ChallengeType } from "./acme_settings.ts";
import { isFor } from "./certificate_names.ts";
import type { Door } from "./challenge_door.ts";
import { openHttpChallenge } from "./http_challenge.ts";

type Library = typeof AcmeClient;
type Challenge = AcmeClient.Authorization["challenges"][number];

const generate = promisify(generateKeyPair);

/** How often to ask what has become of something, milliseconds. */
const FIRST_LOOK = 300, LONGEST_LOOK = 5_000;

/**
 * A new key with a certificate for all names. `accountKey` in PEM. Rejects with OrderFailed, also when `signal` comes
 * first. One at a time in a process: the HTTP client of the library is shared.
 */
export async function orderCertificate(
  settings: AcmeSettings,
  accountKey: string,
  signal: AbortSignal,
): Promise<Held> {
  // Loading it costs every command 0.15 s.
  const acme = await import("acme-client");
  const proof = await openProof(acme, settings).catch((error) => {
    throw new OrderFailed(error.message);
  });
  const http = openAcmeHttp(settings.directoryCa, signal);
  acme.axios.defaults.adapter = http.adapter;
  try {
    return await order(acme, settings, accountKey, proof, signal);
  } catch (error) {
    if (signal.aborted) {
      const { host } = new URL(settings.directory);
      throw new OrderFailed(
        `The order at ${settings.directory} did not end in time. It is tried again later; look whether this machine can ` +
          `call ${host} over HTTPS.`,
      );
    }
    throw orderFailed(error, settings);
  } finally {
    http.close();
    await proof.close();
  }
}

async function order(
  acme: Library,
  settings: AcmeSettings,
  accountKey: string,
  proof: Proof,
  signal: AbortSignal,
): Promise<Held> {
  const { names, directory, email } = settings;
  const client = new acme.Client({ directoryUrl: directory, accountKey });
  await signIn(client, email);
  const order = await client.createOrder({ identifiers: names.map((value) => ({ type: "dns", value })) });
  for (const authorization of await client.getAuthorizations(order)) {
    if (authorization.status === "valid") continue;
    const challenge = challengeOf(authorization, settings);
    await proof.show(authorization, challenge, await client.getChallengeKeyAuthorization(challenge));
    await client.completeChallenge(challenge);
  }
  await until(signal, async () => isProved(await client.getAuthorizations(order), settings));

  const { pem: key } = await newKey();
  // Without a common name, which cannot be longer than 64 characters.
  const [, request] = await acme.crypto.createCsr({ altNames: [...names] }, key);
  await client.finalizeOrder(order, request);
  let issued: AcmeClient.Order | undefined;
  await until(signal, async () => isIssued(issued = await client.getOrder(order)));
  return received(key, await client.getCertificate(issued!), settings);
}

/** RFC 8555 §7.3: the account of our key; made when there is none. */
async function signIn(client: AcmeClient.Client, email: string | undefined): Promise<void> {
  const contact = email === undefined ? {} : { contact: [`mailto:${email}`] };
  try {
    await client.createAccount({ onlyReturnExisting: true });
  } catch (error) {
    if (!(error instanceof Problem) || error.type !== "accountDoesNotExist") throw error;
    await client.createAccount({ termsOfServiceAgreed: true, ...contact });
    return;
  }
  if (email !== undefined) await client.updateAccount(contact);
}

function challengeOf({ identifier, challenges }: AcmeClient.Authorization, settings: AcmeSettings): Challenge {
  const found = challenges.find(({ type }) => type === settings.challenge);
  if (found !== undefined) return found;
  const offered = challenges.map(({ type }) => type).join(", ") || "none";
  throw new OrderFailed(
    `${new URL(settings.directory).host} does not offer the challenge ${settings.challenge} for ${identifier.value}, ` +
      `but ${offered}. Write another challenge into [tls.acme], or another directory.`,
  );
}

function isProved(authorizations: readonly AcmeClient.Authorization[], settings: AcmeSettings): boolean {
  for (const { status, identifier, challenges } of authorizations) {
    if (status === "valid" || status === "pending") continue;
    const error: unknown = challenges.find((one) => one.error !== undefined)?.error;
    throw orderFailed(problemOf(error, `the authorization is ${status}`), settings, identifier.value);
  }
  return authorizations.every(({ status }) => status === "valid");
}

function isIssued(order: AcmeClient.Order): boolean {
  if (order.status === "invalid") throw problemOf(order.error, "the order is invalid");
  return order.status === "valid";
}

async function newKey(): Promise<{ readonly key: KeyObject; readonly pem: string }> {
  const { privateKey } = await generate("ec", { namedCurve: "P-256" });
  return { key: privateKey, pem: privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

/** Believes the authority nothing that can be seen. */
function received(key: string, chain: string, { names, directory }: AcmeSettings): Held {
  const blocks = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const held = holding({ key, certificate: blocks.map((block) => `${block}\n`).join("") }, directory);
  const missing = names.filter((name) => !isFor(held.leaf, name));
  if (missing.length > 0) throw new Problem("", `the certificate that it sent is not for ${missing.join(", ")}`);
  if (held.notAfter <= Date.now()) throw new Problem("", "the certificate that it sent has expired; look at the clock");
  return held;
}

async function until(signal: AbortSignal, isDone: () => Promise<boolean>): Promise<void> {
  for (let wait = FIRST_LOOK; !await isDone(); wait = Math.min(wait * 1.5, LONGEST_LOOK)) {
    await new Promise<void>((resolve, reject) => {
      const stop = () => (clearTimeout(timer), reject(signal.reason));
      const timer = setTimeout(() => (signal.removeEventListener("abort", stop), resolve()), wait);
      if (signal.aborted) stop();
      else signal.addEventListener("abort", stop, { once: true });
    });
  }
}

// ── what proves a name ───────────────────────────────────────────────────────────────────────────────────────────

interface Proof extends Door {
  show(authorization: AcmeClient.Authorization, challenge: Challenge, keyAuthorization: string): Promise<void>;
}

async function openProof({ crypto }: Library, { challenge, listen }: AcmeSettings): Promise<Proof> {
  const open = {
    "http-01": async () => {
      const answers = new Map<string, string>();
      return {
        ...await openHttpChallenge(listen, answers),
        show: (_: unknown, { token }: Challenge, text: string) => Promise.resolve(void answers.set(token, text)),
      };
    },
    "tls-alpn-01": async () => {
      const proofs = new Map<string, ProvedBy>();
      return {
        ...await openAlpnChallenge(listen, proofs),
        async show(authorization: AcmeClient.Authorization, _: Challenge, text: string) {
          const { pem, key } = await newKey();
          const [, certificate] = await crypto.createAlpnCertificate(authorization, text, pem);
          const { raw } = new X509Certificate(certificate.toString());
          proofs.set(authorization.identifier.value.toLowerCase(), { certificate: raw, key });
        },
      };
    },
  } satisfies Record<ChallengeType, () => Promise<Proof>>;
  return await open[challenge]();
}
