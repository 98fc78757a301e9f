/** The name server of a benchmark, in a process of its own: `serve_zone.ts FILE ADDRESS PORT` until it is ended. */

import { serveZone } from "../../src/sandbox/name_server.ts";
import { parseZone } from "../../src/sandbox/zone_file.ts";

const [file = "", address = "", port = ""] = Deno.args;
await serveZone(parseZone(await Deno.readTextFile(file)), { address, port: Number(port) });
console.log("ready");
