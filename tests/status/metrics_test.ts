import assert from "node:assert/strict";
import { Counters, formatMetrics, type Gauges } from "../../src/status/metrics.ts";
import { silent } from "../../src/log.ts";
import { interop, run } from "../interoperability/programs.ts";
import { LocalServer } from "../support/local_server.ts";

const PLAIN: Gauges = {
  connections: 1,
  queued: 2,
  delivering: 1,
  resting: 0,
  oldest: 61,
  uptime: 3600,
  memory: 104857600,
  reloadRefused: 0,
};
const UNDER_TLS = { ...PLAIN, certificate: 86_400 };

for (
  const [what, gauges] of [
    ["without TLS", PLAIN],
    ["with a certificate", UNDER_TLS],
    ["with one that has expired", { ...PLAIN, certificate: -5 }],
    ["with orders of certificates", { ...UNDER_TLS, certificate: 0, ordersFailed: 3, reloadRefused: 1 }],
  ] as const
) {
  interop(`the metrics are what Prometheus reads, ${what}`, ["promtool"], async () => {
    const counters = new Counters(), log = counters.counting(silent);
    for (const event of ["session-ended", "session-ended", "reload-refused"]) log("info", event);
    await demandClean(formatMetrics(gauges, counters));
  });
}

interop("the metrics of a running server are what Prometheus reads", ["promtool"], async () => {
  await using server = await LocalServer.open({ status: 'listen = "127.0.0.1:0"' });
  const peer = await server.outside();
  await peer.say("QUIT");
  const answer = await fetch(`http://127.0.0.1:${server.running.statusPort()}/metrics`);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  assert.match(text, /^maildemon_certificate_expires_seconds [1-9]\d+$/m);
  assert.doesNotMatch(text, /NaN|undefined/);
  await demandClean(text);
});

async function demandClean(metrics: string): Promise<void> {
  const { code, out, error } = await run("promtool", ["check", "metrics"], { input: metrics });
  assert.deepEqual([code, out + error], [0, ""], metrics);
}
