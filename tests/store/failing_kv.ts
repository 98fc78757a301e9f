/** A store whose disk fails, or waits, when a test wants it to: everything can be read, and nothing written. */

export function failing(kv: Deno.Kv, fails: () => boolean): Deno.Kv {
  return before(kv, () => fails() ? Promise.reject(new Error("no disk")) : Promise.resolve());
}

/** Each commit waits for what `wait` gives. */
export function before(kv: Deno.Kv, wait: () => Promise<unknown>): Deno.Kv {
  return new Proxy(kv, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (key !== "atomic") return typeof value === "function" ? value.bind(target) : value;
      return () => {
        const change = target.atomic(), commit = change.commit.bind(change);
        change.commit = () => wait().then(commit);
        return change;
      };
    },
  });
}
