import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { formatMailbox, parseMailbox } from "../../src/smtp/address.ts";
import { BASE32, type Hash, isSrs, readSrs, srsOf, srsOfStored } from "../../src/smtp/srs.ts";

const DAY = 24 * 3600_000, NOW = Date.UTC(2026, 10, 26);

function keyed(key: string): Hash {
  return (text) => {
    const bytes = createHash("sha256").update(key + text).digest();
    return Array.from(bytes.subarray(0, 8), (byte) => BASE32[byte & 31]).join("");
  };
}

const hash = keyed("a");

function mailbox(text: string) {
  return parseMailbox(text) ?? assert.fail(text);
}

function made(sender: string, now = NOW): string {
  return srsOf(mailbox(sender), "ours.test", hash, now) ?? assert.fail(`${sender} is too long`);
}

function readBack(address: string, hashes = [hash], now = NOW): string {
  const found = readSrs(mailbox(address), hashes, now);
  return found.is === "sender" ? formatMailbox(found.sender) : found.is === "stored" ? found.token : found.is;
}

const SENDERS = [
  "carol@remote.test",
  "a=b=c@remote.test",
  "O'Brien+tag@remote.test",
  '"a b"@remote.test',
  '"@"@remote.test',
  "=@remote.test",
  "用户@remote.test",
  "c@[192.0.2.1]",
  "__proto__@constructor.test",
];

for (const sender of SENDERS) {
  Deno.test(`a return path of ${sender} leads back to it, and nowhere once a sign of it has changed`, () => {
    const address = made(sender);
    assert.ok(isSrs(mailbox(address)));
    assert.equal(readBack(address), sender);
    const end = address.lastIndexOf("@");
    for (let at = 5; at < end; at++) {
      for (const sign of ["a", "b", "="]) {
        const changed = parseMailbox(address.slice(0, at) + sign + address.slice(at + 1));
        if (changed === undefined || formatMailbox(changed).toLowerCase() === address.toLowerCase()) continue;
        assert.equal(readSrs(changed, [hash], NOW).is, "forged", formatMailbox(changed));
      }
    }
    assert.equal(readBack(address.replace(/ours\.test$/, "ours2.test")), "forged");
  });
}

Deno.test("a return path of another forwarder leads to the first one, however many there were", () => {
  const first = "SRS0=abcd=ef=strict.test=carol@first.test";
  const second = made(first);
  assert.match(second, /^SRS1=[a-z2-7]{8}=first\.test==abcd=ef=strict\.test=carol@ours\.test$/);
  assert.equal(readBack(second), first);
  const third = srsOf(mailbox(second), "third.test", hash, NOW) ?? "";
  assert.match(third, /^SRS1=[a-z2-7]{8}=first\.test==abcd=ef=strict\.test=carol@third\.test$/);
  assert.equal(readBack(third), first);
  // Some put another sign behind SRS0.
  for (const sign of ["+", "-"]) {
    assert.equal(readBack(made(first.replace("SRS0=", `SRS0${sign}`))), first.replace("SRS0=", `SRS0${sign}`));
  }
  // What only looks like one is a sender like any other.
  for (const odd of ["SRS1=x@first.test", "SRS1=x=y@first.test", "SRS2=x=y==z@first.test"]) {
    assert.equal(readBack(made(odd)), odd);
  }
});

Deno.test("a return path is good for 21 days, and for a clock that was some days ahead", () => {
  const address = made("carol@remote.test");
  for (const days of [0, 1, 21, -1, -3]) assert.equal(readBack(address, [hash], NOW + days * DAY), "carol@remote.test");
  for (const days of [22, 100, 500, -4, -30]) assert.equal(readBack(address, [hash], NOW + days * DAY), "expired");
});

Deno.test("return paths of earlier keys are read, those of none are forged; upper case is no difference", () => {
  const address = made("carol@remote.test");
  assert.equal(readBack(address, [keyed("b"), hash]), "carol@remote.test");
  assert.equal(readBack(address, [keyed("b")]), "forged");
  assert.equal(readBack(address, []), "forged");
  assert.equal(readBack(address.toUpperCase()), "CAROL@remote.test");
});

Deno.test("a return path has at most 64 octets before the @; a stored sender has one that is short enough", () => {
  const fits = `${"c".repeat(64 - "SRS0=abcdefgh=aa=remote.test=".length)}@remote.test`;
  assert.equal(mailbox(made(fits)).local.length, 64);
  assert.equal(srsOf(mailbox(`c${fits}`), "ours.test", hash, NOW), undefined);
  const stored = srsOfStored("abcdefghijklmnop", "ours.test", hash, NOW);
  assert.equal(readBack(stored), "abcdefghijklmnop");
  assert.equal(readBack(stored.replace("=abc", "=bbc")), "forged");
});

Deno.test("what is no return path is forged, and costs nothing", () => {
  const began = performance.now();
  for (
    const local of [
      "SRS0=",
      "SRS0==",
      "SRS0===",
      "SRS1=",
      "SRS1===",
      "SRS0=a=b",
      "SRS0=a=b=c",
      `SRS0=${"=".repeat(200)}`,
      `SRS1=${"a".repeat(200)}`,
    ]
  ) {
    assert.equal(readSrs({ local, domain: "ours.test" }, [hash], NOW).is, "forged", local);
  }
  assert.ok(performance.now() - began < 250);
});
