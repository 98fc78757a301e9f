import manifest from "../deno.json" with { type: "json" };

/** What `maildemon version` says, and the status page. */
export const VERSION: string = manifest.version;
