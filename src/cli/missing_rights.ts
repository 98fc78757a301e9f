/** What the system says of missing rights names a file, and not who may. */

/** The same error, unless it is about rights: then one that says what to do. */
export function withAdvice(error: unknown, store: string): unknown {
  if (!(error instanceof Deno.errors.PermissionDenied)) return error;
  return new Error(`${error.message}. Run this as root, or as the user to whom the store ${store} belongs.`);
}
