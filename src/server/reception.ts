/** All that decides about a message and takes it in: composed once, for the server and for `maildemon send` alike. */

import type { Caller } from "../accept/caller.ts";
import type { Host } from "../accept/connection.ts";
import type { Led } from "../accept/copies.ts";
import { type FailedLogins, failedLogins } from "../accept/failed_logins.ts";
import { Intake, type IntakeParts } from "../accept/intake.ts";
import { oneAtATime } from "../accept/one_at_a_time.ts";
import { Policy, type PolicyParts } from "../accept/policy.ts";
import { type Scrutiny, TRUSTING } from "../accept/scrutiny.ts";
import { type Submission, submit, type SubmitParts } from "../accept/submit.ts";
import type { Config } from "../config.ts";
import type { Log } from "../log.ts";
import type { ResolveTargets } from "../queue/bounce.ts";
import type { RemoteReply } from "../queue/entry.ts";
import type { Entry } from "../queue/spool.ts";
import type { ReturnPathOf } from "../send/forward.ts";
import { Signer } from "../send/sign.ts";
import { addressKey, domainOf, formatMailbox, type Mailbox, parseMailbox } from "../smtp/address.ts";
import type { HeaderLimits } from "../smtp/headers.ts";
import type { Reply } from "../smtp/reply.ts";
import { isSrs } from "../smtp/srs.ts";
import { Directory } from "../store/directory.ts";
import { domainsOf } from "../store/domains.ts";
import { Logins } from "../store/logins.ts";
import { addressKeysOf, type PeopleCache } from "../store/people_cache.ts";
import { ReturnPaths } from "../store/return_paths.ts";
import { ScramExchange } from "../store/scram.ts";
import { secret } from "../store/secrets.ts";
import { countSent } from "../store/sent.ts";
import type { Decision } from "../store/stories.ts";
import { leading } from "./forwarding.ts";
import { openLockouts } from "./inspection.ts";
import type { Storage } from "./storage.ts";
import { openUnsubscribing, type Unsubscribing } from "./unsubscribing.ts";

export interface ReceptionParts {
  readonly log: Log;
  /** The Date of a message from outside that passed all checks. */
  dated?(date: string): void;
  /** A message is on disk. */
  accepted(entry: Entry): void;
  /** The same, and waits: the reply when everybody refuses it at once, and then it is gone. */
  firstAttempt(entry: Entry): Promise<RemoteReply | undefined>;
  /** For `maildemon why`. */
  tell(decision: Decision): void;
}

export interface Reception {
  /** Where mail for an address goes; none when it is one of ours that does not exist. */
  readonly resolveTargets: ResolveTargets;
  readonly returnPathOf: ReturnPathOf;
  readonly unsubscribing: Unsubscribing;
  /** Signature lines for mail of this domain; empty when it is not ours. */
  readonly sign: IntakeParts["sign"];
  /** Decides for one connection. */
  hostFor(caller: Caller, scrutiny: Scrutiny): Host;
  /** Takes a message from a program on this machine. Rejects with NotSent. */
  submit(submission: Submission): Promise<Reply>;
  /** What is not signed yet is not signed any more. */
  close(): void;
}

/** RFC 5322 knows no such limit; 40,000 lines of one field cost seconds to look at. */
const MAX_FOLDS = 500;
const LONG = 1 << 18;

/** Rejects when the store cannot be read or a key cannot be used. The storage stays the caller's. */
export async function openReception(
  config: Config,
  { kv, people, spool }: Storage,
  receptionParts: ReceptionParts,
): Promise<Reception> {
  const signer = new Signer(config.dkim);
  const unsubscribing = await openUnsubscribing(config, { kv, people, log: receptionParts.log });
  const parts = { ...receptionParts, kv, people, unsubscribing, draft: () => spool.draft(), sign: signing(signer) };
  const door = await openDoor(config, parts);
  return {
    ...door,
    unsubscribing,
    sign: parts.sign,
    submit: submitting(config, people, door),
    close: () => signer.close(),
  };
}

/** Where mail comes in: everything that decides about it, and nothing that keeps it. */
export type Door = Pick<Reception, "hostFor" | "resolveTargets" | "returnPathOf">;

export interface DoorParts extends ReceptionParts {
  readonly kv: Deno.Kv;
  readonly people: PeopleCache;
  readonly unsubscribing: Pick<Unsubscribing, "calls" | "add" | "has" | "listFields">;
  readonly draft: IntakeParts["draft"];
  readonly sign: IntakeParts["sign"];
}

export async function openDoor(config: Config, parts: DoorParts): Promise<Door> {
  const { kv, people, log, tell, unsubscribing } = parts;
  const domains = domainsOf(config.domains), ours = domains.map(({ name }) => name);
  const directory = new Directory(people, { store: config.store }), returnPaths = new ReturnPaths(kv);
  const sendsAs: PolicyParts["sendsAs"] = async (login, from) => {
    if (await people.maySendAs(login, from)) return "own";
    return await people.isEnabled(login) && await directory.isAliasOf(from, login, domains) ? "alias" : undefined;
  };
  const resolve: PolicyParts["resolve"] = async (address, isBounce) => {
    if (isSrs(address)) return isBounce ? await returned(address) : "bounces only";
    const found = await directory.resolve(address, domains);
    if (!found.known) return found.reason;
    for (const missing of found.missing) log("warning", "target-missing", { address: addressKey(address), missing });
    return leading(config, address, found);
  };
  const returned = async (address: Mailbox): Promise<Led | "forged" | "expired"> => {
    const back = await returnPaths.senderOf(address);
    if (back.to === "nobody") return back.because;
    const as = `postmaster@${address.domain}`;
    return {
      destinations: [{ target: { to: "remote", address: formatMailbox(back.to), forward: { as } } }],
      users: [],
    };
  };
  const intake = intakeParts(config, parts, sendsAs);
  const policy: PolicyParts = {
    hostname: config.hostname,
    greeting: config.greeting,
    domains: ours,
    resolve,
    sendsAs,
    hasUnsubscribed: (login, address) => unsubscribing.has(login, address),
    tell,
    ...loginParts(config, parts, await secret(kv, "scram")),
  };
  return {
    async resolveTargets(address) {
      const mailbox = parseMailbox(address);
      if (mailbox === undefined) return [];
      if (!ours.includes(mailbox.domain)) return [{ to: "remote", address: formatMailbox(mailbox) }];
      const led = await resolve(mailbox, true);
      return typeof led === "string" ? [] : led.destinations.map(({ target }) => target);
    },
    // SPF lets us send for our own domains anyway.
    returnPathOf: async (sender, as) =>
      sender === "" || ours.includes(domainOf(sender)) ? sender : await returnPaths.of(sender, domainOf(as)),
    hostFor: (caller, scrutiny) => new Policy(policy, caller, scrutiny, new Intake(intake, caller, scrutiny)),
  };
}

/** Takes messages from programs on this machine. */
function submitting(config: Config, people: PeopleCache, { hostFor }: Door): Reception["submit"] {
  const parts: SubmitParts = {
    limits: { ...headerLimits(config), maxMessageSize: config.limits.max_message_size },
    ownerOf: async (address) => {
      const owner = await people.owner(addressKey(address));
      return owner?.of === "user" ? owner.login : undefined;
    },
    hostFor: (user) => hostFor({ id: "send", kind: "command", host: "127.0.0.1", port: 0, user }, TRUSTING),
  };
  return (submission) => submit(submission, parts);
}

function intakeParts(config: Config, parts: DoorParts, sendsAs: IntakeParts["sendsAs"]): IntakeParts {
  const { kv, people, log, accepted, firstAttempt, dated, draft, sign, unsubscribing } = parts;
  return {
    hostname: config.hostname,
    limits: { ...headerLimits(config), maxHops: config.limits.max_hops },
    log,
    draft,
    accepted,
    firstAttempt,
    ...(dated && { dated }),
    sign,
    sendsAs,
    addressesOf: (login) => people.addressesOf(login),
    unsubscribe: (address, users, id) => unsubscribing.add(address, users, id),
    callsForUnsubscribed: unsubscribing.calls,
    listFields: (user, from, recipients) => unsubscribing.listFields(user, from, recipients),
    countSent: async (login, recipients) => {
      const mailbox = parseMailbox(login);
      const user = mailbox && await people.user(mailbox);
      return user !== undefined && await countSent(kv, addressKeysOf(user)[0] ?? login, recipients, user.sendLimit);
    },
  };
}

function headerLimits({ limits }: Config): HeaderLimits {
  return { maxHeader: limits.max_header, maxFields: limits.max_header_fields, maxFolds: MAX_FOLDS };
}

function loginParts(
  config: Config,
  { kv, people, log }: DoorParts,
  scramSecret: Uint8Array,
): FailedLogins & Pick<PolicyParts, "verifyPassword" | "scram"> {
  const logins = new Logins(people);
  const lockouts = openLockouts(config, kv);
  return {
    verifyPassword: (login, password) => logins.verifyPassword(login, password),
    scram: (mechanism, caller) => {
      const binding = caller.tls?.endPoint;
      return new ScramExchange(people, {
        mechanism,
        plusOffered: config.auth.mechanisms.includes("SCRAM-SHA-256-PLUS"),
        ...(binding && { binding }),
        secret: scramSecret,
      });
    },
    ...failedLogins(lockouts, config.auth.max_failures, log),
  };
}

function signing(signer: Signer): IntakeParts["sign"] {
  const inTurn = oneAtATime();
  return async (domain, size, read) => {
    if (!signer.has(domain)) return "";
    const sign = async () => await signer.sign(domain, await read());
    return size <= LONG ? await sign() : await inTurn(sign);
  };
}
