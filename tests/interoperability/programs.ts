/** Other people's programs: where they are, what brings them, and how they are run. */

/** What a test needs, and the Debian package that brings it. */
const PACKAGES = {
  aiosmtpd: "python3-aiosmtpd",
  curl: "curl",
  dovecot: "dovecot-lmtpd",
  dkimpy: "python3-dkim with python3-nacl",
  mandoc: "mandoc",
  msmtp: "msmtp",
  "msmtp with SCRAM-PLUS": "msmtp (a later one, that knows scram-sha-256-plus)",
  opendkim: "opendkim",
  openssl: "openssl",
  promtool: "prometheus",
  python: "python3",
  rspamd: "rspamd",
  "smtp-sink": "postfix",
  spamd: "spamd",
  swaks: "swaks with libnet-ssleay-perl",
  "systemd-analyze": "systemd",
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

const there = new Map<Program, boolean>();

/** Looks once for each program. */
function isMissing(program: Program): boolean {
  const known = there.get(program) ?? isThere(program);
  there.set(program, known);
  return !known;
}

function isThere(program: Program): boolean {
  switch (program) {
    case "python":
      return isFile(PYTHON);
    case "dkimpy":
      return isFile(PYTHON) && succeeds(PYTHON, ["-c", "import dkim, nacl"]);
    case "aiosmtpd":
      return isFile(PYTHON) && succeeds(PYTHON, ["-c", "import aiosmtpd"]);
    case "msmtp with SCRAM-PLUS":
      return prints("msmtp", ["--version"]).includes(" scram-sha-256-plus ");
    case "swaks":
      return find("swaks") !== undefined && succeeds("perl", ["-MNet::SSLeay", "-e", "1"]);
    default:
      return find(program) !== undefined;
  }
}

/** A test that needs these programs; where one is missing it is ignored, and its line says which package to install. */
export function interop(name: string, programs: readonly Program[], test: () => Promise<void>): void {
  const missing = programs.filter(isMissing).map((program) => PACKAGES[program]);
  Deno.test({
    // In the name, because `deno test --quiet` keeps to itself what is printed before the tests.
    name: missing.length > 0 ? `${name} (skipped: install the Debian package ${missing.join(", ")})` : name,
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
  { input = "" }: { readonly input?: string | Uint8Array } = {},
): Promise<Ran> {
  const child = new Deno.Command(find(program) ?? program, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
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

/** What a program prints; nothing when it is not there. */
function prints(program: string, args: string[]): string {
  const path = find(program);
  if (path === undefined) return "";
  return new TextDecoder().decode(
    new Deno.Command(path, { args, stdout: "piped", stderr: "null" }).outputSync().stdout,
  );
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
