/** The configuration that `init` writes: as short as it can be, and complete. */

export interface Beginning {
  readonly hostname: string;
  /** As they stand in the file: absolute, or relative to its folder. */
  readonly store: string;
  readonly dkim: readonly { readonly selector: string; readonly key: string }[];
  readonly domain: string;
  readonly ports: Ports;
  /** `[::]`, or `0.0.0.0` on a machine without IPv6. */
  readonly everywhere: string;
  /** Whom the authority may write to; absent: its terms were not accepted, and there is no certificate. */
  readonly acme?: { readonly email: string };
  /** `HOST:PORT`. Absent: mail goes to the servers of its recipients. */
  readonly smarthost?: string;
}

export interface Ports {
  readonly mx: number;
  readonly submission: number;
  readonly submissions: number;
  /** Where the authority's call arrives; absent: where it is made to. */
  readonly challenge?: number;
}

export const STANDARD_PORTS: Ports = { mx: 25, submission: 587, submissions: 465 };
/** For whoever may not have those below 1024, and lets a firewall lead there. */
export const HIGH_PORTS: Ports = { mx: 2525, submission: 2587, submissions: 2465, challenge: 8080 };

export function initialConfig({ ports, everywhere, acme, ...beginning }: Beginning): string {
  return [
    '# Written by "maildemon init". All other settings have their defaults: config.example.toml, which comes with each',
    "# release, explains them.",
    '# After a change, "maildemon check" says whether it is right, and "maildemon dns" what to publish.',
    "",
    `hostname = ${quoted(beginning.hostname)}`,
    `store = ${quoted(beginning.store)}`,
    "",
    "[[domains]]",
    `name = ${quoted(beginning.domain)}`,
    "dkim = [",
    ...beginning.dkim.map(({ selector, key }) => `  { selector = ${quoted(selector)}, key = ${quoted(key)} },`),
    "]",
    "",
    ...listener("# Mail from outside.", "mx", `${everywhere}:${ports.mx}`),
    ...acme === undefined ? withoutCertificate(everywhere, ports) : withAcme(everywhere, ports, acme),
    ...beginning.smarthost === undefined ? [] : viaSmarthost(beginning.smarthost),
  ].join("\n");
}

function listener(explain: string, kind: string, address: string): string[] {
  return [explain, "[[listeners]]", `kind = ${quoted(kind)}`, `address = ${quoted(address)}`, ""];
}

function withAcme(everywhere: string, ports: Ports, { email }: { readonly email: string }): string[] {
  const { challenge } = ports;
  return [
    ...listener(
      "# Mail of the users: STARTTLS, then they sign in.",
      "submission",
      `${everywhere}:${ports.submission}`,
    ),
    ...listener("# The same, under TLS from the first byte.", "submissions", `${everywhere}:${ports.submissions}`),
    "# A certificate from Let's Encrypt, which calls port 80 of the hostname to see that it is ours. It is renewed by",
    '# itself. If you have one in files, write certificate = "FILE" and key = "FILE" into [tls] instead.',
    "[tls.acme]",
    "agree_to_terms = true",
    `email = ${quoted(email)}`,
    ...challenge === undefined ? [] : [`listen = ${quoted(`${everywhere}:${challenge}`)}`],
    "",
  ];
}

function withoutCertificate(everywhere: string, ports: Ports): string[] {
  return [
    "# Users can hand in their mail when there is a certificate: take away the # and name its files.",
    "#[[listeners]]",
    '#kind = "submission"',
    `#address = ${quoted(`${everywhere}:${ports.submission}`)}`,
    "#[[listeners]]",
    '#kind = "submissions"',
    `#address = ${quoted(`${everywhere}:${ports.submissions}`)}`,
    "#[tls]",
    '#certificate = "FILE"',
    '#key = "FILE"',
    "",
  ];
}

function viaSmarthost(server: string): string[] {
  return [
    "# All mail leaves through this server.",
    "[outbound]",
    'route = "smarthost"',
    `smarthost = ${quoted(server)}`,
    '#smarthost_user = "NAME"              # Its login there, and the file with the password.',
    '#smarthost_password_file = "secrets/smarthost"',
    "",
  ];
}

/** A basic string of TOML is one of JSON, but for DEL, which no value of ours may hold. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
