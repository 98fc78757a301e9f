/** A Postfix of our own beside the system's, on a free port: the peer to measure against. */

import { join } from "node:path";

export interface Peer {
  readonly name: string;
  readonly port: number;
  /** What does its work: the ids of the processes from which all its others descend. */
  readonly processes: readonly number[];
  /** Where the mail lies that it has delivered. */
  readonly maildir: string;
  /** Messages that it has delivered so far. */
  delivered(): Promise<number>;
  stop(): Promise<void>;
}

/** What Postfix is to check with; see filters.ts. */
export interface Filters {
  /** The socket of a milter. */
  readonly milter: string;
  /** A policy service: the program with its arguments, and whose it is. */
  readonly policy: { readonly argv: string; readonly user: string };
  /** What all of this Postfix finds in place of /etc/resolv.conf. */
  readonly resolvConf: string;
}

/** Needs root, Debian's `postfix` and a folder that others may enter. Mail for anybody@dev.test goes into one Maildir. */
export async function startPostfix(folder: string, port: number, filters?: Filters): Promise<Peer> {
  const config = join(folder, "postfix"), queue = join(folder, "postfix-queue"), data = join(folder, "postfix-data");
  const mail = join(folder, "postfix-mail"), maildir = join(mail, "ann", "new");
  await Deno.mkdir(config, { recursive: true });
  await Deno.mkdir(queue, { recursive: true });
  await Deno.mkdir(data);
  await Deno.mkdir(mail);
  await run("chown", ["postfix", data]);
  await run("chown", ["nobody", mail]);
  await Deno.writeTextFile(join(config, "main.cf"), mainCf({ queue, data, mail }) + checksIn(filters));
  await Deno.writeTextFile(join(config, "master.cf"), masterCf(port) + serviceOf(filters));
  if (filters === undefined) await run("postfix", ["-c", config, "start"]);
  else await runInItsOwnWorld(filters.resolvConf, ["postfix", "-c", config, "start"]);
  await reached(port);
  const master = Number((await Deno.readTextFile(join(queue, "pid", "master.pid"))).trim());
  return {
    name: "Postfix",
    port,
    processes: [master],
    maildir,
    async delivered() {
      let count = 0;
      try {
        for await (const _ of Deno.readDir(maildir)) count++;
      } catch { /* nothing yet */ }
      return count;
    },
    stop: () => run("postfix", ["-c", config, "stop"]),
  };
}

/** The file of the machine stays as it is: only what is started here sees another one in its place. */
async function runInItsOwnWorld(resolvConf: string, command: readonly string[]): Promise<void> {
  const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  await run("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, resolvConf, ...command]);
}

function mainCf({ queue, data, mail }: { queue: string; data: string; mail: string }): string {
  return `compatibility_level = 3.6
queue_directory = ${queue}
data_directory = ${data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
multi_instance_enable = yes
syslog_name = postfix-bench
maillog_file_prefixes = /dev
maillog_file = /dev/null
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.dev.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = dev.test
virtual_mailbox_base = ${mail}
virtual_mailbox_maps = static:ann/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_timeout = 60s
`;
}

/**
 * As the README.Debian of both packages has it. Who waits between two rounds stays there: a policy service is a Python
 * that takes long to start, and nobody who is measured shall pay for that.
 */
function checksIn(filters: Filters | undefined): string {
  if (filters === undefined) return "smtpd_recipient_restrictions = permit_auth_destination, reject\n";
  return `smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service unix:private/policyd-spf, permit
policyd-spf_time_limit = 3600
smtpd_policy_service_max_idle = 3600s
smtpd_policy_service_max_ttl = 3600s
max_idle = 3600s
smtpd_milters = unix:${filters.milter}
milter_default_action = accept
`;
}

function serviceOf(filters: Filters | undefined): string {
  if (filters === undefined) return "";
  const { argv, user } = filters.policy;
  return `policyd-spf unix - n n - 0 spawn user=${user} argv=${argv}\n`;
}

function masterCf(port: number): string {
  return `127.0.0.1:${port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`;
}

async function reached(port: number): Promise<void> {
  for (let tries = 100; tries > 0; tries--) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((done) => setTimeout(done, 50));
    }
  }
  throw new Error(`Nobody listens on 127.0.0.1:${port}.`);
}

export async function run(program: string, args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args: [...args], stdout: "null", stderr: "piped" })
    .output();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
