/** A Dovecot of its own in a temporary folder, which speaks LMTP on a port and on a socket, and knows some people. */

import { until } from "./letters.ts";
import { find } from "../interoperability/programs.ts";

export interface Dovecot extends AsyncDisposable {
  readonly port: number;
  readonly socket: string;
  /** What lies in somebody's Maildir, one character for each byte. */
  inbox(address: string): Promise<string[]>;
}

/** `people`: addresses. Rejects with its log when it does not start. */
export async function startDovecot(people: readonly string[]): Promise<Dovecot> {
  const folder = await Deno.makeTempDir({ prefix: "dovecot-" }), port = freePort(), socket = `${folder}/lmtp`;
  // Its parts run as other users, and have to get in.
  await Deno.chmod(folder, 0o755);
  await Deno.mkdir(`${folder}/mail`);
  await Deno.chmod(`${folder}/mail`, 0o777);
  await Deno.writeTextFile(`${folder}/users`, people.map((address) => `${address}:{PLAIN}x::::::\n`).join(""));
  await Deno.writeTextFile(`${folder}/dovecot.conf`, configOf(folder, port));
  const child = new Deno.Command(find("dovecot") ?? "dovecot", {
    args: ["-F", "-c", `${folder}/dovecot.conf`],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const stop = async () => {
    child.kill("SIGTERM");
    await child.status;
    await Deno.remove(folder, { recursive: true });
  };
  try {
    await until(
      () => Deno.connect({ port, hostname: "127.0.0.1" }).then((conn) => (conn.close(), true), () => false),
      "Dovecot",
      15_000,
    );
  } catch (error) {
    const log = await Deno.readTextFile(`${folder}/log`).catch(() => "");
    await stop();
    throw new Error(`${error}: ${log}`);
  }
  return {
    port,
    socket,
    async inbox(address) {
      const texts: string[] = [], box = `${folder}/mail/${address}/new`;
      for await (const { name } of Deno.readDir(box)) {
        texts.push(new TextDecoder("latin1").decode(await Deno.readFile(`${box}/${name}`)));
      }
      return texts;
    },
    [Symbol.asyncDispose]: stop,
  };
}

function configOf(folder: string, port: number): string {
  const owner = Deno.uid() === 0 ? "nobody" : String(Deno.uid()),
    group = Deno.uid() === 0 ? "nogroup" : String(Deno.gid());
  return `protocols = lmtp
base_dir = ${folder}/run
state_dir = ${folder}/run
log_path = ${folder}/log
ssl = no
mail_location = maildir:${folder}/mail/%u
mail_save_crlf = yes
first_valid_uid = 1
mail_uid = ${owner}
mail_gid = ${group}
passdb {
  driver = passwd-file
  args = ${folder}/users
}
userdb {
  driver = passwd-file
  args = ${folder}/users
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = ${port}
  }
  unix_listener ${folder}/lmtp {
    mode = 0666
  }
}
`;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }), { port } = listener.addr;
  listener.close();
  return port;
}
