import assert from "node:assert/strict";
import { dns } from "../../src/cli/dns.ts";
import { doctor } from "../../src/cli/doctor.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";
import { ADDRESS, faultsIn, freePorts, greeter, withWorld, type World } from "../doctor/world.ts";
import { typed, withSite } from "./typed.ts";

const commands = [dns, doctor];

function told({ config }: World, ...line: string[]) {
  return typed(["--config", config, ...line, "--address", ADDRESS], { commands });
}

function doctorTold(world: World, ...line: string[]) {
  return told(world, "doctor", "--probe", "remote.test", ...line);
}

Deno.test("doctor says what is wrong, what to do and the exact record, and what dns prints makes it right", async () => {
  await withWorld(async (world) => {
    const isOurs = (line: string) => /ours\.test\.|second\.test\.|third\.test\.|arpa\./.test(line);
    world.serve(world.zone.filter((line) => !isOurs(line)));
    const ill = await doctorTold(world);
    assert.equal(ill.code, 1);
    assert.match(ill.out, /^RESULT +CHECK +OF +FOUND\n/);
    assert.match(ill.out, /^error +mx +ours\.test +the domain has no MX record$/m);
    assert.match(
      ill.out,
      /^error: mx of ours\.test: the domain has no MX record\.\nPublish this record at your DNS provider:\n {2}ours\.test\. IN MX 10 mail\.ours\.test\.$/m,
    );
    assert.match(ill.error, /^14 errors, \d warnings?\.\n$/);

    const { out } = await told(world, "dns", "--format", "zone");
    // Whoever gave the address sets what is a comment in our zone.
    const zone = out.split("\n").map((line) => line.replace(/^; (?=\S+\.arpa\. IN PTR)/, ""));
    world.serve([...world.zone.filter((line) => !isOurs(line)), ...zone]);
    const well = await doctorTold(world, "--json");
    const findings: Finding[] = JSON.parse(well.out);
    // Its authority is of this test.
    const known = findings.filter(({ topic }) => topic !== "certificate");
    assert.deepEqual(faultsIn(known), []);
    assert.equal(well.code, 0);

    const one = JSON.parse((await doctorTold(world, "second.test", "--json")).out) as Finding[];
    assert.deepEqual(one.filter(({ topic }) => topic === "mx").map(({ about }) => about), ["second.test"]);
  });
});

Deno.test("doctor without a server, a store and a name server that helps ends with 1 and says each", async () => {
  const names = await serveZone(parseZone("*.test. BEHAVE refused\n*.arpa. BEHAVE refused"));
  try {
    await withSite(async ({ type, config }) => {
      // The usual port may be somebody's, which would be one fault more.
      const usual = await Deno.readTextFile(config);
      await Deno.writeTextFile(config, usual.replace(":2525", `:${freePorts(1)[0]}`));
      const line = ["doctor", "--address", ADDRESS, "--probe", "remote.test"];
      const { code, out } = await type([...line, "--json"], { commands });
      assert.equal(code, 1);
      const faults = (JSON.parse(out) as Finding[]).flatMap(({ fault }) => fault ?? []);
      assert.deepEqual([...new Set(faults)].sort(), ["dkim-no-key", "no-answer", "server-stopped", "store-missing"]);
      // What helps against all of them is said once.
      const { out: text } = await type(line, { commands });
      assert.equal(text.match(/Whether the record is right is not known/g)?.length, 1);
    }, `[dns]\nservers = ["127.0.0.1:${names.server.port}"]`);
  } finally {
    await names.close();
  }
});

Deno.test("nothing that a stranger says reaches the terminal as it is", async () => {
  await withWorld(async (world) => {
    const zone = world.zone.filter((line) => !/^(ours\.test\. IN TXT|_dmarc\.second)/.test(line));
    world.serve([
      ...zone,
      String.raw`ours.test. IN TXT "v=spf1 \027[31mred -all"`,
      String.raw`_dmarc.second.test. IN TXT "v=DMARC1; p=\155\007none"`,
    ]);
    await world.running.stop();
    const thief = greeter(ADDRESS, world.ports[0], "220 \x1b]0;mine\x07 \u202eback\r\n");
    try {
      for (const more of [[], ["--json"]]) {
        const { out, error } = await doctorTold(world, ...more);
        assert.match(out, /red -all[^]*none/);
        assert.match(out, /0;mine/);
        // deno-lint-ignore no-control-regex
        assert.doesNotMatch(out + error, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
      }
    } finally {
      await thief.close();
    }
  });
});

Deno.test("doctor names each mistake of the config and looks at nothing else", async () => {
  await withSite(async ({ type, config }) => {
    const line = ["doctor", "--address", ADDRESS];
    const { code, out } = await type([...line, "--json"], { commands });
    assert.equal(code, 1);
    const findings = JSON.parse(out) as Finding[];
    assert.deepEqual(findings.map(({ fault }) => fault), ["config-wrong", "config-wrong"]);
    assert.deepEqual(findings.map(({ about }) => about), [`${config}:9`, `${config}:10`]);
    for (const wrong of [["--probe", "[127.0.0.1]"], ["--address", "x"]]) {
      assert.equal((await type(["doctor", ...wrong], { commands })).code, 2, wrong.join(" "));
    }
  }, "[limits]\nmax_hops = 1\nmax_lin = 5000");
});
