/** Compiled with the flags of the program by compiled_test.ts: tries what the program has no business with. */

import process from "node:process";

const tries: Readonly<Record<string, () => unknown>> = {
  "start another program": () => new Deno.Command("/bin/true").outputSync(),
  "load a library": () => Deno.dlopen("libc.so.6", {}),
  "read a variable": () => Deno.env.get("SECRET_OF_OTHERS"),
  "list variables": () => Object.keys(process.env).filter((name) => name.startsWith("SECRET")).join() || undefined,
  "tell the load": () => Deno.loadavg(),
  "tell the memory": () => Deno.systemMemoryInfo(),
};

for (const [what, attempt] of Object.entries(tries)) {
  let became: string;
  try {
    const value = attempt();
    became = value === undefined ? "nothing there" : "done";
  } catch (error) {
    became = error instanceof Error ? error.name : String(error);
  }
  console.log(`${what}: ${became}`);
}
