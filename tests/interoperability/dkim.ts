/** What was submitted is verified by dkimpy and by OpenDKIM, with the records that `maildemon dkim record` prints. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { bytesOf, textOf } from "../support/every_cut.ts";
import { DOTS, lines, newTag } from "./message_text.ts";
import { ANN, PASSWORD, type PostOffice } from "./post_office.ts";
import { interop, python, run } from "./programs.ts";

const BOTH = [["s1", "rsa-sha256"], ["s1-ed", "ed25519-sha256"]] as const;

/** Bodies and headers that canonicalization has to get right. */
const LETTERS: readonly (readonly [about: string, head: readonly string[], body: readonly string[]])[] = [
  ["of one line", [], ["Hello"]],
  ["without a body", [], []],
  ["of dots and blanks, with empty lines at its end", [], [...DOTS, "a  b \t c   ", "\t", " ", "", "", ""]],
  ["with folded fields", ["X-Long: a", "\tb", "  c  ", "Cc: <x@remote.test>,", "\t<y@remote.test>"], ["Hello"]],
  ["in eight bits", ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8"], [
    "Gr\xc3\xbc\xc3\x9fe",
    "\xff\x80",
  ]],
  ["of 300 KiB", [], Array.from({ length: 4000 }, (_, at) => `${at} `.padEnd(75, "x"))],
];

export function tryDkim(office: () => PostOffice): void {
  for (const [about, head, body] of LETTERS) {
    for (const [program, verify] of [["dkimpy", dkimpy], ["opendkim", openDkim]] as const) {
      interop(`${program} verifies both signatures of a letter ${about}`, ["curl", program], async () => {
        const { path } = await submitted(office(), head, body);
        assert.deepEqual(await verify(office(), path), BOTH.map((key) => [...key, "pass"]));
      });
    }
  }

  interop("a changed word, and a second Subject, break both signatures", ["curl", "dkimpy", "opendkim"], async () => {
    const { path, bytes } = await submitted(office(), [], ["Pay 10"]);
    const text = textOf(bytes), subject = "\r\nSubject:";
    for (const forged of [text.replace("Pay 10", "Pay 99"), text.replace(subject, `${subject} other${subject}`)]) {
      const file = path.replace(".eml", ".forged");
      await Deno.writeFile(file, bytesOf(forged));
      const verdicts = [...await dkimpy(office(), file), ...await openDkim(office(), file)];
      assert.deepEqual(verdicts.map(([selector]) => selector), ["s1", "s1-ed", "s1", "s1-ed"]);
      for (const [, , verdict] of verdicts) assert.notEqual(verdict, "pass");
    }
  });
}

async function submitted(office: PostOffice, head: readonly string[], body: readonly string[]) {
  const to = `${newTag()}@remote.test`;
  const text = lines(`From: Ann <${ANN}>`, `To: <${to}>`, ...head, "Subject: a test", "", ...body);
  const { code, error } = await run("curl", [
    ...[
      "--silent",
      "--show-error",
      "--cacert",
      office.authority,
      `smtps://localhost:${office.server.port("submissions")}`,
    ],
    ...["--user", `${ANN}:${PASSWORD}`, "--mail-from", ANN, "--mail-rcpt", to, "--upload-file", "-"],
  ], { input: bytesOf(text) });
  assert.equal(code, 0, error);
  return await office.captured(to);
}

/** Selector, algorithm, `pass` or what is wrong, for each signature in its order. */
type Verdict = readonly [selector: string, algorithm: string, verdict: string];

async function dkimpy(office: PostOffice, file: string): Promise<Verdict[]> {
  const records = join(office.folder, "records.json");
  await Deno.writeTextFile(records, JSON.stringify(office.dkim));
  const { code, out, error } = await python("dkimpy_verify.py", [file, records]);
  assert.equal(code, 0, error);
  return JSON.parse(out);
}

/** The filter in its test mode, with the records in a file. */
async function openDkim(office: PostOffice, file: string): Promise<Verdict[]> {
  const keys = join(office.folder, "opendkim.keys"), config = join(office.folder, "opendkim.conf");
  await Deno.writeTextFile(keys, office.dkim.map(({ name, value }) => `${name} ${value}\n`).join(""));
  await Deno.writeTextFile(config, `Mode v\nTestPublicKeys ${keys}\n`);
  const { out } = await run("opendkim", ["-x", config, "-t", file, "-vvv"]);
  const [, results = ""] = /'Authentication-Results' hvalue='([^']*)'/.exec(out) ?? [];
  return [...results.matchAll(/\tdkim=(\w+)[^;]*? header\.a=(\S+) header\.s=(\S+)/g)]
    .map(([, verdict = "", algorithm = "", selector = ""]) => [selector, algorithm, verdict]);
}
