/** swaks, the Swiss Army Knife for SMTP: Perl over Net::SSLeay. */

import assert from "node:assert/strict";
import { added, newTag } from "./message_text.ts";
import { ANN, DOMAIN, PASSWORD, type PostOffice } from "./post_office.ts";
import { interop, type Ran, run } from "./programs.ts";

/** swaks' exit codes, from its manual: TLS, RCPT and DATA are named by the step that failed. */
const RECIPIENTS_REFUSED = 24, AUTH_FAILED = 28, TLS_FAILED = 29, XCLIENT_FAILED = 33, GREETING_MISSING = 6;

export function trySwaks(office: () => PostOffice): void {
  const swaks = (port: number, ...args: string[]): Promise<Ran> =>
    run("swaks", ["--server", "127.0.0.1", "--port", String(port), "--helo", "client.remote.test", ...args]);
  const verified = () => ["--tls", "--tls-verify", "--tls-ca-path", office().authority, "--tls-sni", "localhost"];
  const login = (
    mechanism: string,
    password = PASSWORD,
    user = ANN,
  ) => ["--auth", mechanism, "--auth-user", user, "--auth-password", password, "--from", user];

  for (const mechanism of ["PLAIN", "LOGIN"]) {
    interop(`swaks submits with AUTH ${mechanism} over STARTTLS`, ["swaks"], async () => {
      const to = `${newTag()}@remote.test`;
      const port = office().server.port("submission");
      const { code, out } = await swaks(port, ...verified(), ...login(mechanism), "--to", to);
      assert.equal(code, 0, out);
      assert.match(out, new RegExp(` ~> AUTH ${mechanism}`));
      const { bytes, sender } = await office().captured(to);
      assert.equal(sender, ANN);
      assert.match(
        added(bytes),
        /^Received: from client\.remote\.test \(\[127\.0\.0\.1\]\)\r\n\tby \S+ with ESMTPSA \(TLSv1\.3 /,
      );
    });
  }

  interop("swaks is told 535 for a wrong password, and by no other words for an unknown user", ["swaks"], async () => {
    const port = office().server.port("submission");
    const wrong = await swaks(port, "--tls", ...login("PLAIN", "Tulip-8 garden"), "--to", "x@remote.test");
    const unknown = await swaks(port, "--tls", ...login("PLAIN", "x", `nobody@${DOMAIN}`), "--to", "x@remote.test");
    assert.deepEqual([wrong.code, unknown.code], [AUTH_FAILED, AUTH_FAILED]);
    const said = ({ out }: Ran) => /<~\*+ (535 .*)/.exec(out)?.[1];
    assert.match(said(wrong) ?? wrong.out, /^535 5\.7\.8 /);
    assert.equal(said(unknown), said(wrong));
  });

  interop("swaks finds no AUTH before STARTTLS, and no relay without AUTH", ["swaks"], async () => {
    const port = office().server.port("submission");
    const clear = await swaks(port, ...login("PLAIN"), "--to", "x@remote.test");
    assert.equal(clear.code, AUTH_FAILED, clear.out);
    assert.doesNotMatch(clear.out, /250[- ]AUTH/);
    const unsigned = await swaks(port, "--tls", "--from", ANN, "--to", "x@remote.test");
    assert.match(unsigned.out, /<~\*+ 530 5\.7\.0 /);
  });

  interop("swaks hands mail to mx in clear and under TLS", ["swaks"], async () => {
    const port = office().server.port("mx");
    for (const [how, protocol] of [[[], "ESMTP"], [verified(), "ESMTPS \\(TLSv1\\.3 \\S+\\)"]] as const) {
      const tag = newTag();
      const { code, out } = await swaks(port, ...how, "--from", "carol@remote.test", "--to", `ann+${tag}@${DOMAIN}`);
      assert.equal(code, 0, out);
      assert.match(added(await office().letter(tag)), new RegExp(`\tby mail\\.dev\\.test with ${protocol}\r\n`));
    }
  });

  interop("swaks refuses a certificate that is for another name", ["swaks"], async () => {
    const { code } = await swaks(
      office().server.port("mx"),
      ...[
        "--tls",
        "--tls-verify",
        "--tls-ca-path",
        office().namedAuthority,
        "--from",
        "carol@remote.test",
        "--to",
        ANN,
      ],
    );
    assert.equal(code, TLS_FAILED);
  });

  interop(
    "swaks pipelines: each recipient gets its own answer, and who is there gets the message",
    ["swaks"],
    async () => {
      const tag = newTag();
      const to = [`ann+${tag}@${DOMAIN}`, `nobody@${DOMAIN}`, `bob+${tag}@${DOMAIN}`, "carol@elsewhere.test"];
      const { code, out } = await swaks(
        office().server.port("mx"),
        ...["--pipeline", "--from", "carol@remote.test", "--to", to.join(",")],
      );
      assert.equal(code, 0, out);
      assert.match(
        out.replace(/^(<|<\*+|<-) +/gm, "$1 "),
        /<- 250 2\.1\.0 .*\n<- 250 2\.1\.5 .*\n<\*\* 550 5\.1\.1 .*\n<- 250 2\.1\.5 .*\n<\*\* 550 5\.7\.1 .*\n<- 354 /,
      );
      await office().letter(tag);
      await office().letter(tag, "bob");
    },
  );

  interop("swaks is told 550 for a recipient that does not exist", ["swaks"], async () => {
    const { code, out } = await swaks(
      office().server.port("mx"),
      ...["--from", "carol@remote.test", "--to", `nobody@${DOMAIN}`],
    );
    assert.equal(code, RECIPIENTS_REFUSED);
    assert.match(out, /<\*\* 550 5\.1\.1 /);
  });

  interop("swaks is not offered XCLIENT", ["swaks"], async () => {
    const { code, error } = await swaks(
      office().server.port("mx"),
      ...["--xclient-addr", "192.0.2.9", "--from", "carol@remote.test", "--to", ANN],
    );
    assert.equal(code, XCLIENT_FAILED);
    assert.match(error, /did not advertise XCLIENT/);
  });

  interop("swaks speaks PROXY: the address behind the proxy is judged, and stands in Received", ["swaks"], async () => {
    const [, port = 0] = office().server.ports("mx");
    const tag = newTag();
    const proxied = (source: string, from: string) =>
      swaks(
        port,
        ...["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", source, "--proxy-source-port", "4711"],
        ...["--proxy-dest", "192.0.2.1", "--proxy-dest-port", "25", "--from", from, "--to", `ann+${tag}@${DOMAIN}`],
      );
    const allowed = await proxied("192.0.2.77", "carol@proxied.test");
    assert.equal(allowed.code, 0, allowed.out);
    assert.match(
      added(await office().letter(tag)),
      /\r\nReceived: from client\.remote\.test \(\[192\.0\.2\.77\]\)\r\n/,
    );
    const forged = await proxied("192.0.2.78", "carol@proxied.test");
    assert.match(forged.out, /<\*\* 550 5\.7\.23 /);
  });

  interop(
    "swaks without a PROXY header is sent away where one is due, and with one where none is",
    ["swaks"],
    async () => {
      const [open = 0, proxied = 0] = office().server.ports("mx");
      const mail = ["--from", "carol@remote.test", "--to", ANN];
      const header = ["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "192.0.2.77"];
      const [bare, strange] = await Promise.all([
        swaks(proxied, ...mail, "--timeout", "10"),
        swaks(
          open,
          ...header,
          "--proxy-source-port",
          "1",
          "--proxy-dest",
          "192.0.2.1",
          "--proxy-dest-port",
          "25",
          ...mail,
        ),
      ]);
      assert.equal(bare.code, GREETING_MISSING, bare.out);
      assert.doesNotMatch(bare.out, /<- +220/);
      assert.notEqual(strange.code, 0, strange.out);
      assert.doesNotMatch(strange.out, /Queued/);
    },
  );
}
