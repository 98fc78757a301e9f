/** Other people's programs: where they are, what brings them, and how they are run. */

/** What a test needs, and the Debian package that brings it. */
const PACKAGES = {
  aiosmtpd: "python3-aiosmtpd",
  curl: "curl",
  dkimpy: "python3-dkim",
  msmtp: "msmtp",
  opendkim: "opendkim",
  openssl: "openssl",
  python: "python3",
  "smtp-sink": "postfix",
  swaks: "swaks",
} as const;

export type Program = keyof typeof PACKAGES;

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Debian puts servers into /usr/sbin, which is not on everybody's path. */
const FOLDERS = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
/** Milliseconds; everything here runs on loopback. */
const PATIENCE = 30_000;

/** The path of a program, or undefined. */
export function find(name: string): string | undefined {
  return FOLDERS.filter((folder) => folder !== "").map((folder) => `${folder}/${name}`).find(isFile);
}

/** Debian's own Python, which finds Debian's modules; another one may stand before it on the path. */
export const PYTHON = isFile("/usr/bin/python3") ? "/usr/bin/python3" : find("python3") ?? "python3";

/** The Debian packages that are missing for these programs. */
export function missingPackages(programs: readonly Program[]): string[] {
  return programs.filter((program) => !isThere(program)).map((program) => PACKAGES[program]);
}

function isThere(program: Program): boolean {
  switch (program) {
    case "python":
      return isFile(PYTHON);
    case "dkimpy":
      return isFile(PYTHON) && succeeds(PYTHON, ["-c", "import dkim, nacl"]);
    case "aiosmtpd":
      return isFile(PYTHON) && succeeds(PYTHON, ["-c", "import aiosmtpd"]);
    case "swaks":
      return find("swaks") !== undefined && succeeds("perl", ["-MNet::SSLeay", "-e", "1"]);
    default:
      return find(program) !== undefined;
  }
}

/** A test that needs these programs; where one is missing it is ignored, and a line says which package to install. */
export function interop(name: string, programs: readonly Program[], test: () => Promise<void>): void {
  const missing = missingPackages(programs);
  if (missing.length > 0) console.log(`skipped for want of the Debian package ${missing.join(", ")}: ${name}`);
  Deno.test({
    name,
    ignore: missing.length > 0,
    // The name server answers in this process: what the server asks during one test may end in the next.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: test,
  });
}

/** Runs a program to its end. What it prints is read as Latin-1 so that no byte is lost. Rejects when it hangs. */
export async function run(
  program: string,
  args: readonly string[],
  { input = "", env = {} }: { readonly input?: string | Uint8Array; readonly env?: Record<string, string> } = {},
): Promise<Ran> {
  const child = new Deno.Command(find(program) ?? program, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env,
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, PATIENCE);
  const writer = child.stdin.getWriter();
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
  // A program that ends without reading everything is no failure of ours.
  const written = writer.write(bytes).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  await written;
  const ran = { code, out: latin1(stdout), error: latin1(stderr) };
  if (late) throw new Error(`${program} ${args.join(" ")} did not end within ${PATIENCE} ms\n${ran.out.slice(-2000)}`);
  return ran;
}

/** Runs a Python program of this folder. */
export async function python(script: string, args: readonly string[]): Promise<Ran> {
  return await run(PYTHON, [new URL(`python/${script}`, import.meta.url).pathname, ...args]);
}

function succeeds(program: string, args: string[]): boolean {
  try {
    return new Deno.Command(program, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
