/** All that decides about a message and takes it in: composed once, for the server and for `maildemon send` alike. */

import { join } from "node:path";
import type { Caller } from "./accept/caller.ts";
import type { Host } from "./accept/connection.ts";
import { Intake, type IntakeParts, type Scrutiny } from "./accept/intake.ts";
import { oneAtATime } from "./accept/one_at_a_time.ts";
import { Policy, type PolicyParts } from "./accept/policy.ts";
import { type Submission, submit, type SubmitParts } from "./accept/submit.ts";
import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import type { ResolveTargets } from "./queue/bounce.ts";
import { type Entry, Spool } from "./queue/spool.ts";
import { Signer } from "./send/sign.ts";
import { addressKey, formatMailbox, type Mailbox, parseMailbox } from "./smtp/address.ts";
import type { Reply } from "./smtp/reply.ts";
import { Directory, domainsOf } from "./store/directory.ts";
import { openKv } from "./store/kv.ts";
import { Logins } from "./store/logins.ts";
import { addressKeysOf, PeopleCache } from "./store/people_cache.ts";
import { ScramExchange } from "./store/scram.ts";
import { secret } from "./store/secrets.ts";
import { countSent } from "./store/sent.ts";
import type { Certificates } from "./tls/certificates.ts";

export interface Reception {
  readonly spool: Spool;
  /** Where mail for an address goes; none when it is one of ours that does not exist. */
  readonly resolveTargets: ResolveTargets;
  /** Decides for one connection. */
  hostFor(caller: Caller, scrutiny: Scrutiny): Host;
  /** Takes a message from a program on this machine. Rejects with NotSent. */
  submit(submission: Submission): Promise<Reply>;
  close(): Promise<void>;
}

/** RFC 5322 knows no such limit; 40,000 lines of one field cost seconds to look at. */
const MAX_FOLDS = 500;
const LONG = 1 << 18;
/** Mail of our own users is not looked at like that of strangers. */
const TRUSTING: Scrutiny = { sender: () => Promise.resolve(undefined), message: () => Promise.resolve(undefined) };

/** `accepted` is told of each message that is on disk. Rejects, with nothing left open, when a part cannot be opened. */
export async function openReception(
  config: Config,
  log: Log,
  accepted: (entry: Entry) => void,
  certificates?: Certificates,
): Promise<Reception> {
  const kv = await openKv({ store: config.store, ...(config.kv !== undefined && { kv: config.kv }) });
  const closers: (() => void | Promise<void>)[] = [() => kv.close()];
  const close = async () => {
    for (const one of closers.toReversed()) await one();
  };
  try {
    const people = await PeopleCache.open(kv, { log });
    closers.push(() => people.close());
    const spool = await Spool.open({ folder: join(config.store, "queue"), log });
    closers.push(() => spool.close());
    const signer = new Signer(config.dkim);
    closers.push(() => signer.close());
    const parts = { kv, people, spool, signer, log, accepted, scramSecret: await secret(kv, "scram") };
    return compose(config, parts, certificates, close);
  } catch (error) {
    await close();
    throw error;
  }
}

interface Opened {
  readonly kv: Deno.Kv;
  readonly people: PeopleCache;
  readonly spool: Spool;
  readonly signer: Signer;
  readonly log: Log;
  readonly accepted: (entry: Entry) => void;
  readonly scramSecret: Uint8Array;
}

function compose(
  config: Config,
  opened: Opened,
  certificates: Certificates | undefined,
  close: () => Promise<void>,
): Reception {
  const { people, spool, log } = opened;
  const domains = domainsOf(config.domains);
  const isOurs = (domain: string) => domains.some(({ name }) => name === domain);
  const directory = new Directory(people, { store: config.store });
  const resolve = async (address: Mailbox) => {
    const found = await directory.resolve(address, domains);
    if (!found.known) return undefined;
    for (const missing of found.missing) log("warning", "target-missing", { address: addressKey(address), missing });
    return found.targets;
  };
  const intake = intakeParts(config, opened);
  const policy: PolicyParts = {
    hostname: config.hostname,
    greeting: config.greeting,
    firstDomain: domains[0]?.name ?? config.hostname,
    isOurs,
    resolve,
    maySendAs: intake.maySendAs,
    ...loginParts(config, opened, certificates),
  };
  const hostFor = (caller: Caller, scrutiny: Scrutiny) => {
    return new Policy(policy, caller, scrutiny, new Intake(intake, caller, scrutiny));
  };
  const submitting: SubmitParts = {
    limits: { ...intake.limits, maxMessageSize: config.limits.max_message_size },
    ownerOf: async (address) => {
      const owner = await people.owner(addressKey(address));
      return owner?.of === "user" ? owner.login : undefined;
    },
    hostFor: (user) => hostFor({ id: "send", kind: "command", host: "127.0.0.1", port: 0, user }, TRUSTING),
  };
  return {
    spool,
    async resolveTargets(address) {
      const mailbox = parseMailbox(address);
      if (mailbox === undefined) return [];
      if (!isOurs(mailbox.domain)) return [{ to: "remote", address: formatMailbox(mailbox) }];
      return (await resolve(mailbox)) ?? [];
    },
    hostFor,
    submit: (submission) => submit(submission, submitting),
    close,
  };
}

function intakeParts(config: Config, { kv, people, spool, signer, log, accepted }: Opened): IntakeParts {
  return {
    hostname: config.hostname,
    limits: {
      maxHeader: config.limits.max_header,
      maxFields: config.limits.max_header_fields,
      maxFolds: MAX_FOLDS,
      maxHops: config.limits.max_hops,
    },
    log,
    draft: () => spool.draft(),
    accepted,
    maySendAs: (login, from) => people.maySendAs(login, from),
    countSent: async (login, recipients) => {
      const mailbox = parseMailbox(login);
      const user = mailbox && await people.user(mailbox);
      return user !== undefined && await countSent(kv, addressKeysOf(user)[0] ?? login, recipients, user.sendLimit);
    },
    sign: signing(signer),
  };
}

function loginParts(
  config: Config,
  { people, log, scramSecret }: Opened,
  certificates: Certificates | undefined,
): Pick<PolicyParts, "verifyPassword" | "scram" | "loginFailed"> {
  const logins = new Logins(people);
  return {
    verifyPassword: (login, password) => logins.verifyPassword(login, password),
    scram: (mechanism, caller) => {
      const binding = certificates?.endPoint(caller.tls?.serverName);
      return new ScramExchange(people, {
        mechanism,
        plusOffered: config.auth.mechanisms.includes("SCRAM-SHA-256-PLUS"),
        ...(binding && { binding }),
        secret: scramSecret,
      });
    },
    loginFailed: (caller, login) => log("warning", "login-failed", { connection: caller.id, host: caller.host, login }),
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
