/** msmtp: GnuTLS and GNU SASL. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { added, below, DOTS, letter, newTag, sameBytes } from "./message_text.ts";
import { ANN, DOMAIN, PASSWORD, type PostOffice } from "./post_office.ts";
import { interop, type Ran, run } from "./programs.ts";

/** sysexits.h. */
const EX_DATAERR = 65, EX_NOPERM = 77;

export function tryMsmtp(office: () => PostOffice): void {
  async function msmtp(account: Record<string, string>, args: readonly string[], input: string): Promise<Ran> {
    const { folder, authority, server } = office();
    const implicit = account.tls_starttls === "off";
    const settings = {
      host: "localhost",
      port: String(server.port(implicit ? "submissions" : "submission")),
      tls: "on",
      tls_starttls: "on",
      tls_trust_file: authority,
      domain: "client.remote.test",
      user: ANN,
      password: `"${PASSWORD}"`,
      ...account,
    };
    const file = join(folder, "msmtprc");
    const text = Object.entries(settings).map(([key, value]) => `${key} ${value}\n`).join("");
    await Deno.writeTextFile(file, `account default\n${text}`, { mode: 0o600 });
    // msmtp takes Unix lines and makes CRLF of them.
    return await run("msmtp", ["-C", file, "--debug", ...args], { input: input.replaceAll("\r\n", "\n") });
  }

  for (const auth of ["plain", "login", "scram-sha-256"]) {
    for (const tls_starttls of ["on", "off"]) {
      const how = tls_starttls === "on" ? "over STARTTLS" : "over implicit TLS";
      interop(`msmtp signs in with ${auth} ${how}`, ["msmtp"], async () => {
        const to = `${newTag()}@remote.test`, message = letter(ANN, to, ...DOTS);
        const { code, error, out } = await msmtp({ auth, tls_starttls }, ["--from", ANN, to], message);
        assert.equal(code, 0, error);
        assert.match(out, new RegExp(`--> AUTH ${auth.toUpperCase()}`));
        sameBytes(below((await office().captured(to)).bytes), message);
      });
    }
  }

  interop("msmtp signs in with scram-sha-256-plus over implicit TLS", ["msmtp with SCRAM-PLUS"], async () => {
    const to = `${newTag()}@remote.test`, message = letter(ANN, to, "bound");
    const account = { auth: "scram-sha-256-plus", tls_starttls: "off" };
    const { code, error } = await msmtp(account, ["--from", ANN, to], message);
    assert.equal(code, 0, error);
    sameBytes(below((await office().captured(to)).bytes), message);
  });

  interop("msmtp reads sender and recipients from the message, and nobody learns of Bcc", ["msmtp"], async () => {
    const [to, cc, bcc] = [newTag(), newTag(), newTag()].map((tag) => `${tag}@remote.test`);
    const text = `From: Ann <${ANN}>\nTo: Carol <${to}>\nCc: ${cc}\nBcc: ${bcc}\nSubject: for three\n\nHello\n`;
    const { code, error } = await msmtp({ auth: "plain" }, ["--read-envelope-from", "--read-recipients"], text);
    assert.equal(code, 0, error);
    const { sender, recipients, bytes } = await office().captured(`${bcc}`);
    assert.equal(sender, ANN);
    assert.deepEqual([...recipients].sort(), [to, cc, bcc].sort());
    const whole = new TextDecoder().decode(bytes);
    assert.ok(!whole.includes(`${bcc}`), whole);
    assert.doesNotMatch(added(bytes), / for </);
  });

  interop("msmtp leaves Bcc in, and it is taken out for it", ["msmtp"], async () => {
    const [to, bcc] = [`${newTag()}@remote.test`, `${newTag()}@remote.test`];
    const text = `From: ${ANN}\nTo: ${to}\nBcc: ${bcc},\n ${ANN}\nSubject: for two\n\nHello\n`;
    const account = { auth: "plain", remove_bcc_headers: "off" };
    const { code, error } = await msmtp(account, ["--from", ANN, to, bcc], text);
    assert.equal(code, 0, error);
    const whole = new TextDecoder().decode((await office().captured(bcc)).bytes);
    assert.doesNotMatch(whole, /^bcc/im);
    assert.ok(!whole.includes(bcc), whole);
  });

  interop("msmtp is told what it may not: a wrong password, an address that is not Ann's", ["msmtp"], async () => {
    const message = letter(ANN, "x@remote.test", "x");
    for (const auth of ["plain", "scram-sha-256"]) {
      const wrong = await msmtp({ auth, password: "wrong" }, ["--from", ANN, "x@remote.test"], message);
      assert.equal(wrong.code, EX_NOPERM, wrong.error);
      assert.match(wrong.out + wrong.error, /535 5\.7\.8 /);
    }
    const other = await msmtp({ auth: "plain" }, ["--from", `bob@${DOMAIN}`, "x@remote.test"], message);
    assert.equal(other.code, EX_DATAERR, other.error);
    assert.match(other.error, /553 5\.7\.1 /);
  });
}
