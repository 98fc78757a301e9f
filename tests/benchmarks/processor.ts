/** Who used the processors, and how long: read from /proc. Linux only. */

/** Seconds by what used them: the name of a process, for Deno's that of the thread. */
export type Spent = ReadonlyMap<string, number>;

interface Process {
  readonly parent: number;
  readonly name: string;
  /** Of its own, and of those of its children that have ended. */
  readonly own: number;
  readonly ended: number;
}

/** Ticks a second; Linux tells programs this number on every architecture (USER_HZ). */
const TICKS = 100;

/** A process, with all that descend from it. `as`: what all of them are called together. */
export interface Root {
  readonly id: number;
  readonly as?: string;
}

/** Since they began. */
export async function spent(roots: readonly Root[]): Promise<Spent> {
  const processes = await readProcesses(), totals = new Map<string, number>();
  const add = (name: string, seconds: number) => totals.set(name, (totals.get(name) ?? 0) + seconds);
  const rootOf = (id: number): Root | undefined => {
    const parent = processes.get(id)?.parent;
    return roots.find((root) => root.id === id) ?? (parent === undefined ? undefined : rootOf(parent));
  };
  for (const [id, { name, own, ended }] of processes) {
    const root = rootOf(id);
    if (root === undefined) continue;
    if (root.as !== undefined) {
      add(root.as, own + ended);
      continue;
    }
    if (ended > 0) add(`${name}'s ended children`, ended);
    if (name !== "deno") add(name, own);
    else for (const [thread, seconds] of await threadsOf(id)) add(thread, seconds);
  }
  return totals;
}

/** What of it was used since. */
export function since(before: Spent, after: Spent): Spent {
  return new Map([...after].map(([name, seconds]) => [name, seconds - (before.get(name) ?? 0)] as const));
}

async function readProcesses(): Promise<ReadonlyMap<number, Process>> {
  const found = new Map<number, Process>();
  for await (const { name } of Deno.readDir("/proc")) {
    const stat = /^\d+$/.test(name) ? await readStat(`/proc/${name}/stat`) : undefined;
    if (stat !== undefined) found.set(Number(name), stat);
  }
  return found;
}

/** The first thread has the number of the process: it is the one in which the server lives. */
async function threadsOf(id: number): Promise<readonly (readonly [string, number])[]> {
  const found: [string, number][] = [];
  try {
    for await (const { name } of Deno.readDir(`/proc/${id}/task`)) {
      const stat = await readStat(`/proc/${id}/task/${name}/stat`);
      if (stat === undefined) continue;
      found.push([Number(name) === id ? "main thread" : threadName(stat.name), stat.own]);
    }
  } catch { /* it has ended meanwhile */ }
  return found;
}

/** Deno's: `worker-1`, `tokio-runtime-w`; V8's: `V8 DefaultWorke`, which compiles and collects. */
function threadName(name: string): string {
  if (name.startsWith("worker")) return "workers";
  return name.startsWith("V8") ? "V8" : name.startsWith("tokio") ? "runtime" : name;
}

/** proc(5): the name stands in brackets and may hold anything, so the rest is read from the last bracket on. */
async function readStat(path: string): Promise<Process | undefined> {
  try {
    const text = await Deno.readTextFile(path), end = text.lastIndexOf(")");
    const rest = text.slice(end + 2).split(" ").map(Number);
    const [, parent = 0] = rest, [user = 0, system = 0, endedUser = 0, endedSystem = 0] = rest.slice(11, 15);
    return {
      parent,
      name: text.slice(text.indexOf("(") + 1, end),
      own: (user + system) / TICKS,
      ended: (endedUser + endedSystem) / TICKS,
    };
  } catch {
    return undefined; // It has ended meanwhile.
  }
}
