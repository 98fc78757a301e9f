/** curl as a mail client: libcurl over OpenSSL. */

import assert from "node:assert/strict";
import { added, below, DOTS, letter, newTag, sameBytes } from "./message_text.ts";
import { ANN, DOMAIN, PASSWORD, type PostOffice } from "./post_office.ts";
import { interop, type Ran, run } from "./programs.ts";

/** libcurl-errors(3). */
const WEIRD_SERVER_REPLY = 8, LOGIN_DENIED = 67, PEER_FAILED_VERIFICATION = 60, SEND_ERROR = 55;

export function tryCurl(office: () => PostOffice): void {
  const curl = (url: string, from: string, to: readonly string[], input: string, ...args: string[]): Promise<Ran> =>
    run("curl", [
      ...["--silent", "--show-error", "--cacert", office().authority, url, "--mail-from", from],
      ...to.flatMap((address) => ["--mail-rcpt", address]),
      ...["--upload-file", "-", ...args],
    ], { input });
  const url = (scheme: string, kind: "mx" | "submission" | "submissions") =>
    `${scheme}://localhost:${office().server.port(kind)}/client.remote.test`;
  const signIn = ["--user", `${ANN}:${PASSWORD}`];

  interop("curl submits over implicit TLS; --crlf makes a file of Unix lines a message", ["curl"], async () => {
    const to = `${newTag()}@remote.test`, message = letter(ANN, to, "line", "", ".", "last");
    const unix = message.replaceAll("\r\n", "\n");
    const { code, error } = await curl(url("smtps", "submissions"), ANN, [to], unix, "--crlf", ...signIn);
    assert.equal(code, 0, error);
    sameBytes(below((await office().captured(to)).bytes), message);
  });

  interop("curl signs in with PLAIN and LOGIN over STARTTLS", ["curl"], async () => {
    for (const mechanism of ["PLAIN", "LOGIN"]) {
      const to = `${newTag()}@remote.test`, message = letter(ANN, to, mechanism);
      const { code, error } = await curl(
        url("smtp", "submission"),
        ANN,
        [to],
        message,
        ...["--ssl-reqd", ...signIn, "--login-options", `AUTH=${mechanism}`],
      );
      assert.equal(code, 0, error);
      sameBytes(below((await office().captured(to)).bytes), message);
    }
  });

  interop(
    "curl brings a message of dots to mx under TLS, and it lies in the Maildir byte for byte",
    ["curl"],
    async () => {
      for (let round = 0; round < 2; round++) {
        const tag = newTag(), to = `ann+${tag}@${DOMAIN}`;
        // The second one is dots from its first byte on: what has no header gets the empty line that ends ours.
        const message = round === 0
          ? letter("carol@remote.test", to, ...DOTS)
          : DOTS.map((line) => `${line}\r\n`).join("");
        const { code, error } = await curl(url("smtp", "mx"), "carol@remote.test", [to], message, "--ssl-reqd");
        assert.equal(code, 0, error);
        const stored = await office().letter(tag);
        sameBytes(below(stored), round === 0 ? message : `\r\n${message}`);
        assert.match(added(stored), / with ESMTPS \(TLSv1\.3 /);
      }
    },
  );

  interop("curl is refused a message of Unix lines, and nothing of it is kept", ["curl"], async () => {
    const tag = newTag(), to = `ann+${tag}@${DOMAIN}`;
    const unix = letter("carol@remote.test", to, "a", "b").replaceAll("\r\n", "\n");
    const { code, error } = await curl(url("smtp", "mx"), "carol@remote.test", [to], unix);
    assert.equal(code, WEIRD_SERVER_REPLY, error);
    const sure = newTag();
    await curl(url("smtp", "mx"), "carol@remote.test", [`ann+${sure}@${DOMAIN}`], letter("carol@remote.test", to));
    await office().letter(sure);
    assert.deepEqual(await office().stored(tag), []);
  });

  interop(
    "curl is told what it may not: a wrong password, a foreign sender, a stranger's certificate",
    ["curl"],
    async () => {
      const message = letter(ANN, "x@remote.test", "x"), submissions = url("smtps", "submissions");
      const send = async (from: string, text: string, ...args: string[]) =>
        (await curl(submissions, from, ["x@remote.test"], text, ...args)).code;
      assert.equal(await send(ANN, message, "--user", `${ANN}:wrong`), LOGIN_DENIED);
      assert.equal(await send("bob@dev.test", message, ...signIn), SEND_ERROR);
      assert.equal(await send(ANN, letter("bob@dev.test", "x@remote.test", "x"), ...signIn), WEIRD_SERVER_REPLY);
      const port = office().server.port("submissions");
      const aside = ["--resolve", `other.test:${port}:127.0.0.1`];
      const other = await curl(`smtps://other.test:${port}`, ANN, ["x@remote.test"], message, ...aside, ...signIn);
      assert.equal(other.code, PEER_FAILED_VERIFICATION, other.error);
    },
  );
}
