/** openssl s_client: what we show of ourselves in a handshake. */

import assert from "node:assert/strict";
import { type PostOffice, SNI_NAME } from "./post_office.ts";
import { interop, type Ran, run } from "./programs.ts";

export function tryOpenssl(office: () => PostOffice): void {
  const connect = (port: number, name: string, authority: string, ...args: string[]): Promise<Ran> =>
    run("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${port}`, "-servername", name, "-verify_hostname", name],
      ...["-CAfile", authority, "-verify_return_error", "-brief", "-crlf", ...args],
    ], { input: "QUIT\n" });

  for (const [version, protocol] of [["-tls1_2", "TLSv1.2"], ["-tls1_3", "TLSv1.3"]] as const) {
    interop(`openssl finds ${protocol}, and the certificate for the name it asks for`, ["openssl"], async () => {
      const { server, authority, namedAuthority } = office();
      for (const [name, trusted] of [["localhost", authority], [SNI_NAME, namedAuthority]] as const) {
        const ways = [
          connect(server.port("mx"), name, trusted, version, "-starttls", "smtp"),
          connect(server.port("submission"), name, trusted, version, "-starttls", "smtp"),
          connect(server.port("submissions"), name, trusted, version),
        ];
        for (const { code, out, error } of await Promise.all(ways)) {
          assert.equal(code, 0, error);
          const said = out + error;
          assert.match(said, new RegExp(`Protocol version: ${protocol.replace(".", "\\.")}\n`));
          assert.match(said, new RegExp(`Peer certificate: CN = ${name.replace(".", "\\.")}\n`));
          assert.match(said, /Verification: OK/);
        }
      }
    });
  }

  interop("openssl gets the first certificate for a name that none is for", ["openssl"], async () => {
    const { server, authority } = office();
    const { code, out, error } = await run("openssl", [
      ...["s_client", "-connect", `127.0.0.1:${server.port("submissions")}`, "-servername", "strange.test"],
      ...["-CAfile", authority, "-verify_return_error", "-brief", "-crlf"],
    ], { input: "QUIT\n" });
    assert.equal(code, 0, error);
    assert.match(out + error, /Peer certificate: CN = localhost\n/);
  });

  interop("openssl gets no further with TLS 1.1", ["openssl"], async () => {
    const { server, authority } = office();
    // Debian's own settings would refuse it on this side; the refusal has to be the server's.
    const old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    for (
      const way of [
        connect(server.port("submissions"), "localhost", authority, ...old),
        connect(server.port("mx"), "localhost", authority, ...old, "-starttls", "smtp"),
      ]
    ) {
      const { code, out, error } = await way;
      assert.notEqual(code, 0);
      assert.doesNotMatch(out + error, /CONNECTION ESTABLISHED|no protocols available/);
    }
    // Nothing of the kind has disturbed it.
    assert.equal((await connect(server.port("submissions"), "localhost", authority)).code, 0);
  });
}
