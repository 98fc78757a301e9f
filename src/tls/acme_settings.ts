/** What an order of a certificate needs to know. */

export type ChallengeType = "http-01" | "tls-alpn-01";

export interface AcmeSettings {
  /** The data folder. */
  readonly store: string;
  /** In lower case and A-labels; at least one. The certificate is kept under the first one. */
  readonly names: readonly string[];
  /** The URL of the authority's directory (RFC 8555 §7.1.1). */
  readonly directory: string;
  /** PEM: by what the authority is known over HTTPS; undefined: by those that everybody trusts. */
  readonly directoryCa?: string;
  readonly email?: string;
  readonly challenge: ChallengeType;
  /** Where the challenges arrive. */
  readonly listen: { readonly hostname: string; readonly port: number };
}

/** The part of the configuration that it comes from. */
interface Config {
  readonly hostname: string;
  readonly store: string;
  readonly tls: {
    readonly acme: {
      readonly email: string | undefined;
      readonly directory: string;
      readonly challenge: ChallengeType;
      readonly listen: AcmeSettings["listen"] | undefined;
      readonly names: readonly string[];
    } | undefined;
  };
  readonly directoryCa?: string;
}

/** RFC 8555 §8.3, RFC 8737 §3: where the authority calls. */
export const CALLED: Readonly<Record<ChallengeType, number>> = { "http-01": 80, "tls-alpn-01": 443 };

/** Undefined when there is no [tls.acme]. */
export function acmeSettings({ hostname, store, tls: { acme }, directoryCa }: Config): AcmeSettings | undefined {
  if (acme === undefined) return undefined;
  const { email, directory, challenge, listen, names } = acme;
  return {
    store,
    names: names.length > 0 ? names : [hostname],
    directory,
    challenge,
    listen: listen ?? { hostname: "::", port: CALLED[challenge] },
    ...(email !== undefined && { email }),
    ...(directoryCa !== undefined && { directoryCa }),
  };
}
