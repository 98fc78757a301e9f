import assert from "node:assert/strict";
import type { Gauges } from "../../src/status/metrics.ts";
import { formatPage } from "../../src/status/page.ts";
import { quietPage } from "./quiet_page.ts";

/** The rows under a heading, as `name: value`. */
function rowsUnder(heading: string, gauges: Partial<Gauges>): string[] {
  const page = formatPage(quietPage(gauges));
  const table = page.split(`<h2>${heading}</h2>`)[1]?.split("</table>")[0] ?? "";
  return [...table.matchAll(/<th>(.*)<\/th><td>(.*)<\/td>/g)].map(([, name, value]) => `${name}: ${value}`);
}

Deno.test("the status page says which configuration and which certificate are in force", () => {
  const inForce = (gauges: Partial<Gauges>) => rowsUnder("In force", gauges);
  assert.deepEqual(inForce({}), ["Configuration: as in its file", "Certificate: none"]);
  assert.deepEqual(inForce({ certificate: 90 * 86_400, reloadRefused: 1 }), [
    "Configuration: the one before: the new one was refused, see the log",
    "Certificate: ends in 90 d 0 h",
  ]);
  assert.equal(inForce({ certificate: 0 })[1], "Certificate: none that others trust");
  assert.equal(inForce({ certificate: -5 })[1], "Certificate: has ended");
});
