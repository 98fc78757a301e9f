/** Our domains, as those who follow an address know them. */

/** What the config says about a domain of ours. */
export interface Domain {
  readonly name: string;
  readonly catchAll?: string | undefined;
  readonly defaultForward?: string | undefined;
}

/** The same, from the names that stand in the configuration. */
export function domainsOf(
  configured: readonly {
    readonly name: string;
    readonly catch_all?: string | undefined;
    readonly default_forward?: string | undefined;
  }[],
): Domain[] {
  return configured.map(({ name, catch_all, default_forward }) => ({
    name,
    catchAll: catch_all,
    defaultForward: default_forward,
  }));
}
