/** What a service manager has to be told about this server. */

/** The name of the service, of its user and of its files. */
export const SERVICE = "maildemon";

/** All paths are absolute. */
export interface ServiceFacts {
  readonly executable: string;
  readonly config: string;
  readonly store: string;
  /** Files of passwords, tokens and signing keys, each with the name under which it is handed over. */
  readonly secrets: readonly { readonly name: string; readonly file: string }[];
  /** Maildirs of users outside the store. */
  readonly maildirs: readonly string[];
  /** The store for people is a server on the network. */
  readonly sharedKv: boolean;
}

/**
 * Such a path means itself in a unit, whatever systemd does with quotes, blanks, `%` and `$`. Throws for any other: to
 * quote it rightly in each place is more than anybody needs who can choose the path.
 */
export function plainPath(path: string): string {
  if (/^\/[\w.+@:/-]+$/.test(path)) return path;
  throw new Error(
    `The path ${JSON.stringify(path)} cannot stand in the description of a service: choose one of letters, digits ` +
      "and . _ - + @ alone.",
  );
}

// Folders that the unit hides from the server.
const HIDDEN = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/** Those of the paths that the server could not see, because it sees nobody's home. */
export function hiddenPaths(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => HIDDEN.some((folder) => path === folder || path.startsWith(`${folder}/`)));
}
