import assert from "node:assert/strict";
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { join } from "node:path";
// It needs this one first.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { ConfigError, loadConfig, reportProblems } from "../../src/config.ts";
import { Certificates } from "../../src/tls/certificates.ts";
import { interop, run } from "../interoperability/programs.ts";
import { inFolder } from "./temporary_folder.ts";

const HEAD = `hostname = "mail.example.com"
[[listeners]]
address = "[::]:25"
kind = "mx"
[[domains]]
name = "example.com"
`;

function pkcs8(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

function rsa(bits: number): KeyObject {
  return generateKeyPairSync("rsa", { modulusLength: bits }).privateKey;
}

const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** A self-signed certificate with its key, valid for a day around `middle`. */
async function certificate(middle = Date.now()): Promise<{ certificate: string; key: string }> {
  const keys = await crypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: createHash("sha256").update(String(middle)).digest("hex").slice(0, 16),
    name: "CN=mail.example.com",
    notBefore: new Date(middle - 43_200_000),
    notAfter: new Date(middle + 43_200_000),
    signingAlgorithm: EC,
    keys,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "mail.example.com" }])],
  });
  const key = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { certificate: made.toString("pem"), key: x509.PemConverter.encode(key, "PRIVATE KEY") };
}

async function write(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(folder, name), text, { mode: 0o600 });
}

/** What loading `HEAD` with `more` behind it, beginning at line 7, complains about, folder names left out. */
async function complaints(folder: string, more: string): Promise<string[]> {
  const file = join(folder, "mail.toml");
  await Deno.writeTextFile(file, HEAD + more);
  try {
    await loadConfig(file);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return reportProblems(error.problems).replaceAll(`${folder}/`, "").split("\n");
  }
}

Deno.test("key files load in each form: RSA as PKCS#1 and PKCS#8, Ed25519, text around the key", () =>
  inFolder(async (folder) => {
    const two = rsa(2048), ed = generateKeyPairSync("ed25519").privateKey;
    await write(folder, {
      "a.pem": two.export({ type: "pkcs1", format: "pem" }).toString(),
      "b.pem": `Key of 2026\r\n\r\n${pkcs8(two).replaceAll("\n", "\r\n")}`,
      "c.pem": pkcs8(ed),
      "mail.toml": `${HEAD}dkim = [
  { selector = "a", key = "a.pem" },
  { selector = "b", key = "b.pem" },
  { selector = "c", key = "c.pem" },
]`,
    });
    const { dkim, warnings } = await loadConfig(join(folder, "mail.toml"));
    assert.deepEqual(dkim.map(({ domain, selector, algorithm }) => [domain, selector, algorithm]), [
      ["example.com", "a", "rsa"],
      ["example.com", "b", "rsa"],
      ["example.com", "c", "ed25519"],
    ]);
    assert.deepEqual(dkim.map(({ pem }) => pkcs8(createPrivateKey(pem))), [pkcs8(two), pkcs8(two), pkcs8(ed)]);
    assert.deepEqual(warnings, []);
  }));

Deno.test("key files that do not load as DKIM keys stop the start, each with its line", () =>
  inFolder(async (folder) => {
    const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const good = pkcs8(generateKeyPairSync("ed25519").privateKey);
    await write(folder, {
      "empty.pem": "",
      "cut.pem": good.replace(/\n.{8}/, "\n"),
      "public.pem": pair.publicKey.export({ type: "spki", format: "pem" }).toString(),
      "ec.pem": pkcs8(pair.privateKey),
      "short.pem": pkcs8(rsa(768)),
      "locked.pem": good.replaceAll("PRIVATE", "ENCRYPTED PRIVATE"),
      "big.pem": "x".repeat(1_048_577),
    });
    await Deno.mkdir(join(folder, "folder.pem"));
    const names = ["none", "empty", "cut", "public", "ec", "short", "locked", "big", "folder"];
    const keys = names.map((name) => `  { selector = "${name}", key = "${name}.pem" },\n`).join("");
    assert.deepEqual(await complaints(folder, `dkim = [\n${keys}]`), [
      "mail.toml:8: domains[0].dkim[0].key: none.pem does not exist",
      'mail.toml:9: domains[0].dkim[1].key: empty.pem has no private key; must contain a line "-----BEGIN PRIVATE KEY-----"',
      "mail.toml:10: domains[0].dkim[2].key: cut.pem cannot be read as a private key; must be PKCS#8 or PKCS#1 in PEM and whole",
      'mail.toml:11: domains[0].dkim[3].key: public.pem has no private key; must contain a line "-----BEGIN PRIVATE KEY-----"',
      "mail.toml:12: domains[0].dkim[4].key: ec.pem is a key of the kind ec; DKIM knows RSA and Ed25519 only",
      "mail.toml:13: domains[0].dkim[5].key: short.pem is an RSA key of 768 bits; must have 1024 to 4096, best 2048",
      'mail.toml:14: domains[0].dkim[6].key: locked.pem is locked with a passphrase; take it off with "openssl pkey -in FILE -out NEW"',
      "mail.toml:15: domains[0].dkim[7].key: big.pem is longer than 1048576 bytes",
      "mail.toml:16: domains[0].dkim[8].key: folder.pem is not an ordinary file",
    ]);
  }));

Deno.test("key files with a short RSA key for DKIM load with a warning", () =>
  inFolder(async (folder) => {
    const file = join(folder, "mail.toml");
    await write(folder, {
      "a.pem": pkcs8(rsa(1024)),
      "mail.toml": `${HEAD}dkim = [{ selector = "a", key = "a.pem" }]`,
    });
    const { dkim, warnings } = await loadConfig(file);
    assert.equal(dkim.length, 1);
    assert.equal(
      reportProblems(warnings),
      `${file}:7: domains[0].dkim[0].key: ${folder}/a.pem is an RSA key of 1024 bits, ` +
        "which some receivers do not count; make one of 2048",
    );
  }));

Deno.test("key files give certificates with their chain, the default one first", () =>
  inFolder(async (folder) => {
    const [one, two, authority] = [await certificate(), await certificate(), await certificate()];
    await write(folder, {
      "one.pem": `${one.certificate}\n${authority.certificate}`,
      "one.key": one.key,
      // Some programs write both into one file.
      "two.pem": `${two.key}\n${two.certificate}\n`,
      "mail.toml":
        `${HEAD}[tls]\ncertificate = "one.pem"\nkey = "one.key"\n[[tls.certificates]]\ncertificate = "two.pem"\nkey = "two.pem"\n`,
    });
    const { certificates, warnings } = await loadConfig(join(folder, "mail.toml"));
    assert.deepEqual(certificates.map(({ certificateFile }) => certificateFile), [
      join(folder, "one.pem"),
      join(folder, "two.pem"),
    ]);
    assert.equal(certificates[0]?.chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.equal(certificates[1]?.chain.trim(), two.certificate.trim());
    assert.equal(certificates[1]?.key.trim(), two.key.trim());
    assert.deepEqual(warnings, []);
  }));

Deno.test("key files that are no pair of certificate and key stop the start", () =>
  inFolder(async (folder) => {
    const [one, two] = [await certificate(), await certificate()];
    await write(folder, {
      "one.pem": one.certificate,
      "one.key": one.key,
      "two.key": two.key,
      "broken.pem": `${one.certificate}\n${one.certificate.replace(/\n.{8}/, "\n")}`,
    });
    assert.deepEqual(
      await complaints(
        folder,
        `[tls]
certificate = "one.pem"
key = "two.key"
[[tls.certificates]]
certificate = "none.pem"
key = "none.key"
[[tls.certificates]]
certificate = "one.key"
key = "one.pem"
[[tls.certificates]]
certificate = "broken.pem"
key = "one.key"
`,
      ),
      [
        "mail.toml:9: tls.key: two.key does not belong to the certificate one.pem; must be the key it was made with",
        "mail.toml:11: tls.certificates[0].certificate: none.pem does not exist",
        "mail.toml:12: tls.certificates[0].key: none.key does not exist",
        'mail.toml:14: tls.certificates[1].certificate: one.key has no certificate; must contain a line "-----BEGIN CERTIFICATE-----"',
        'mail.toml:15: tls.certificates[1].key: one.pem has no private key; must contain a line "-----BEGIN PRIVATE KEY-----"',
        "mail.toml:17: tls.certificates[2].certificate: broken.pem: block 2 cannot be read as a certificate; must be X.509 in PEM and whole",
      ],
    );
  }));

Deno.test("key files with a certificate out of its time load with a warning", () =>
  inFolder(async (folder) => {
    const noon = Date.UTC(2026, 0, 15, 12);
    const { certificate: chain, key } = await certificate(noon);
    const file = join(folder, "mail.toml");
    await write(folder, {
      "a.pem": chain,
      "a.key": key,
      "mail.toml": `${HEAD}[tls]\ncertificate = "a.pem"\nkey = "a.key"\n`,
    });
    const at = async (now: number) => reportProblems((await loadConfig(file, { now: () => now })).warnings);
    const place = `${file}:8: tls.certificate: ${folder}/a.pem`;
    assert.equal(await at(noon), "");
    assert.equal(await at(noon + 86_400_000), `${place} expired 2026-01-16; renew it`);
    assert.equal(await at(noon - 86_400_000), `${place} is not valid before 2026-01-15`);
  }));

Deno.test("key files with passwords and tokens hold one line", () =>
  inFolder(async (folder) => {
    const more = `[outbound]
route = "smarthost"
smarthost = "smtp.example.net:587"
smarthost_user = "me"
smarthost_password_file = "smarthost"
[[outbound.routes]]
domain = "partner.test"
via = "mx.partner.test:25"
user = "we"
password_file = "partner"
[status]
token_file = "token"
`;
    await write(folder, { smarthost: "pass word \r\n", partner: "p\u00e4ss", token: "secret\n" });
    assert.deepEqual(await complaints(folder, more), []);
    const { secrets, outbound } = await loadConfig(join(folder, "mail.toml"));
    assert.deepEqual([...secrets.values()], ["pass word ", "p\u00e4ss", "secret"]);
    assert.equal(secrets.get(outbound.smarthost_password_file ?? ""), "pass word ");
    await write(folder, { smarthost: "", partner: "pass\nword\n" });
    await Deno.remove(join(folder, "token"));
    assert.deepEqual(await complaints(folder, more), [
      "mail.toml:11: outbound.smarthost_password_file: smarthost is empty; must contain the secret on one line",
      "mail.toml:16: outbound.routes[0].password_file: partner must contain the secret on one line and nothing else",
      "mail.toml:18: status.token_file: token does not exist",
    ]);
  }));

Deno.test("a webhook secret is any text, or whole base64 behind whsec_", () =>
  inFolder(async (folder) => {
    const more = '[unsubscribe]\nwebhook = "https://a.test/x"\nsecret_file = "hook"\n';
    for (const secret of ["any text", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_YQ==", "my whsec_"]) {
      await write(folder, { hook: `${secret}\n` });
      assert.deepEqual(await complaints(folder, more), [], secret);
    }
    for (const secret of ["whsec_", "whsec_MfKQ 9r8G", "whsec_MfKQ9r8G ", "whsec_<paste it here>"]) {
      await write(folder, { hook: secret });
      assert.deepEqual(await complaints(folder, more), [
        'mail.toml:9: unsubscribe.secret_file: hook begins with "whsec_"; must have base64 behind it and nothing else',
      ], secret);
    }
  }));

Deno.test("the authority of [tls.acme] is read, and a file that has none is a mistake", async () => {
  await inFolder(async (folder) => {
    const { certificate: pem } = await certificate();
    await write(folder, { "authority.pem": `# Ours\n${pem}`, "empty.pem": "" });
    const acme = "[tls.acme]\nagree_to_terms = true\n";
    assert.deepEqual(await complaints(folder, `${acme}directory_ca = "authority.pem"`), []);
    const { directoryCa } = await loadConfig(join(folder, "mail.toml"));
    assert.equal(directoryCa?.trim(), pem.trim());
    assert.deepEqual(await complaints(folder, `${acme}directory_ca = "none.pem"`), [
      "mail.toml:9: tls.acme.directory_ca: none.pem does not exist",
    ]);
    assert.deepEqual(await complaints(folder, `${acme}directory_ca = "empty.pem"`), [
      'mail.toml:9: tls.acme.directory_ca: empty.pem has no certificate; must contain a line "-----BEGIN CERTIFICATE-----"',
    ]);
  });
});

for (
  const [what, algorithm, said] of [
    ["key of the kind rsa of 1024 bits", "rsa:1024", true],
    ["key of the kind ec on the curve secp256k1", "ec -pkeyopt ec_paramgen_curve:secp256k1", true],
    ["RSA of 2048 bits", "rsa:2048", false],
    ["P-384", "ec -pkeyopt ec_paramgen_curve:P-384", false],
    ["P-521", "ec -pkeyopt ec_paramgen_curve:P-521", false],
    ["Ed25519", "ed25519", false],
  ] as const
) {
  interop(
    `a certificate is ${
      said ? "refused, because no handshake could be made with it" : "taken"
    }, when its key is: ${what}`,
    ["openssl"],
    () =>
      inFolder(async (folder) => {
        const options = `req -x509 -nodes -days 3 -subj /CN=mail.example.com -newkey ${algorithm}`;
        await run("openssl", [...options.split(" "), "-keyout", `${folder}/one.key`, "-out", `${folder}/one.pem`]);
        const found = await complaints(folder, '[tls]\ncertificate = "one.pem"\nkey = "one.key"\n');
        assert.deepEqual(
          found,
          [
            `mail.toml:9: tls.key: one.key is a ${what}, with which no handshake can be made; must be P-256, P-384, P-521, ` +
            "Ed25519 or RSA of 2048 bits or more",
          ].filter(() => said),
        );
        if (said) return;
        const { certificates } = await loadConfig(`${folder}/mail.toml`);
        new Certificates(certificates.map(({ chain, key }) => ({ certificate: chain, key })));
      }),
  );
}
