/** Messages and cases that others have published. They lie beside the repository, and not everybody has them. */

const FOLDER = new URL("../../../shared/vectors/", import.meta.url);

/** A test that needs these files; where one is missing it is ignored, and its line says which. */
export function withVectors(name: string, files: readonly string[], test: (read: ReadVector) => Promise<void>): void {
  const missing = files.filter((file) => !isFile(new URL(file, FOLDER)));
  Deno.test({
    // In the name, because `deno test --quiet` keeps to itself what is printed before the tests.
    name: missing.length > 0 ? `${name} (SKIPPED: ../shared/vectors has no ${missing.join(", ")})` : name,
    ignore: missing.length > 0,
    fn: () => test((file) => Deno.readTextFileSync(new URL(file, FOLDER))),
  });
}

export type ReadVector = (file: string) => string;

function isFile(path: URL): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
