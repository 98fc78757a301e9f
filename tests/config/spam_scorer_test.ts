import assert from "node:assert/strict";
import { scorer } from "../../src/config/spam_scorer.ts";
import { FAILED, type Place } from "../../src/config/table.ts";

/** The value, or the sentence that refuses it. */
function read(raw: unknown): unknown {
  let sentence = "";
  const place: Place = {
    path: ["checks", "spam"],
    folder: "/etc/maildemon",
    fail: (message) => (sentence = message, FAILED),
    below: () => place,
    unknown: () => {},
  };
  const value = scorer.read(raw, place);
  return value === FAILED ? sentence : value;
}

const WORDS = 'must be "builtin", "off", "rspamd:URL" or "spamd:HOST:PORT"';
const URL_WANTED = 'must have a URL with "http://" or "https://" behind "rspamd:"';
const PORT_WANTED = 'must have HOST:PORT behind "spamd:"';
const NO_PASSWORD = "must not contain a user or a password; rspamd's normal worker asks for none";

Deno.test("a spam scorer is built in, off, an rspamd with its URL or a spamd with its port", () => {
  assert.deepEqual(read("builtin"), { by: "builtin" });
  assert.deepEqual(read("off"), { by: "off" });
  assert.deepEqual(read("rspamd:http://127.0.0.1:11333"), { by: "rspamd", url: "http://127.0.0.1:11333" });
  assert.deepEqual(read("rspamd:http://127.0.0.1:11333/"), { by: "rspamd", url: "http://127.0.0.1:11333" });
  assert.deepEqual(read("rspamd:HTTPS://Spam.Example.com/rspamd/"), {
    by: "rspamd",
    url: "https://spam.example.com/rspamd",
  });
  assert.deepEqual(read("rspamd:http://[::1]:11333"), { by: "rspamd", url: "http://[::1]:11333" });
  assert.deepEqual(read("spamd:127.0.0.1:783"), { by: "spamd", host: "127.0.0.1", port: 783 });
  assert.deepEqual(read("spamd:[::1]:783"), { by: "spamd", host: "::1", port: 783 });
  assert.deepEqual(read("spamd:Spam.Example.com:1783"), { by: "spamd", host: "spam.example.com", port: 1783 });
});

for (
  const [raw, sentence] of [
    [true, `${WORDS}, got true`],
    ["", `${WORDS}, got ""`],
    ["clamav", `${WORDS}, got "clamav"`],
    ["build-in", `${WORDS}, got "build-in"; write "builtin"`],
    ["none", `${WORDS}, got "none"; write "off"`],
    ["rspamd", `${WORDS}, got "rspamd"; write "rspamd:http://127.0.0.1:11333"`],
    ["spamassassin", `${WORDS}, got "spamassassin"; write "spamd:127.0.0.1:783"`],
    ["spamd", `${WORDS}, got "spamd"; write "spamd:127.0.0.1:783"`],
    ["http://rspamd:11333", `${WORDS}, got "http://rspamd:11333"; write "rspamd:http://rspamd:11333"`],
    ["http://ann:secret@rspamd:11333", NO_PASSWORD],

    ["rspamd:", `${URL_WANTED}, got "rspamd:"; write "rspamd:http://127.0.0.1:11333"`],
    ["rspamd:11333", `${URL_WANTED}, got "rspamd:11333"; write "rspamd:http://127.0.0.1:11333"`],
    ["rspamd:127.0.0.1:11333", `${URL_WANTED}, got "rspamd:127.0.0.1:11333"; write "rspamd:http://127.0.0.1:11333"`],
    ["rspamd:localhost", `${URL_WANTED}, got "rspamd:localhost"; write "rspamd:http://localhost:11333"`],
    ["rspamd:::1", `${URL_WANTED}, got "rspamd:::1"; write "rspamd:http://[::1]:11333"`],
    [
      "rspamd://localhost:11333",
      `${URL_WANTED}, got "rspamd://localhost:11333"; write "rspamd:http://localhost:11333"`,
    ],
    [
      "rspamd:http:127.0.0.1:11333",
      `${URL_WANTED}, got "rspamd:http:127.0.0.1:11333"; write "rspamd:http://127.0.0.1:11333"`,
    ],
    ["rspamd:ftp://h:1", `${URL_WANTED}, got "rspamd:ftp://h:1"; write "rspamd:http://h:1"`],
    ["rspamd:http://", `${URL_WANTED}, got "rspamd:http://"; write "rspamd:http://127.0.0.1:11333"`],
    ["rspamd:http://h:0", `${URL_WANTED}, got "rspamd:http://h:0"`],
    ["rspamd:http://h:99999", `${URL_WANTED}, got "rspamd:http://h:99999"`],
    ["rspamd:http://h:1/checkv2", `${URL_WANTED}, got "rspamd:http://h:1/checkv2"; write "rspamd:http://h:1"`],
    ["rspamd:http://h:1/?a=b", `${URL_WANTED}, got "rspamd:http://h:1/?a=b"; write "rspamd:http://h:1"`],
    ["rspamd:http://h:1/#top", `${URL_WANTED}, got "rspamd:http://h:1/#top"; write "rspamd:http://h:1"`],
    ["rspamd:http://ann@h:1", NO_PASSWORD],
    ["rspamd:https://ann:secret@h:1", NO_PASSWORD],

    ["spamd:", `${PORT_WANTED}, got "spamd:"; write "spamd:127.0.0.1:783"`],
    ["spamd:783", `${PORT_WANTED}, got "spamd:783"; write "spamd:127.0.0.1:783"`],
    ["spamd:127.0.0.1", `${PORT_WANTED}, got "spamd:127.0.0.1"; write "spamd:127.0.0.1:783"`],
    ["spamd:::1", `${PORT_WANTED}, got "spamd:::1"; write "spamd:[::1]:783"`],
    ["spamd:http://127.0.0.1:783", `${PORT_WANTED}, got "spamd:http://127.0.0.1:783"; write "spamd:127.0.0.1:783"`],
    ["spamd:127.0.0.1:0", `${PORT_WANTED}, got "spamd:127.0.0.1:0"`],
    ["spamd:127.0.0.1:65536", `${PORT_WANTED}, got "spamd:127.0.0.1:65536"`],
    ["spamd:spam example:783", `${PORT_WANTED}, got "spamd:spam example:783"`],
  ] as const
) {
  Deno.test(`a spam scorer cannot be ${JSON.stringify(raw).replace(/ann(:secret)?@/, "USER@")}`, () => {
    assert.equal(read(raw), sentence);
  });
}
