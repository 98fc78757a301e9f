/** A store whose disk fails when a test wants it to: everything can be read, and nothing written. */

export function failing(kv: Deno.Kv, fails: () => boolean): Deno.Kv {
  return new Proxy(kv, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (key !== "atomic") return typeof value === "function" ? value.bind(target) : value;
      return () => {
        const change = target.atomic(), commit = change.commit.bind(change);
        change.commit = () => fails() ? Promise.reject(new Error("no disk")) : commit();
        return change;
      };
    },
  });
}
