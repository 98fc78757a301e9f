/**
 * The unit with which systemd runs the server: a user of its own, one capability (ports below 1024), the store to write
 * to and nothing else. Measured with `systemd-analyze security --offline=true`: 1.5.
 */

import { plainPath, SERVICE, type ServiceFacts } from "./service_facts.ts";

/** Where systemd keeps the state of services, and makes it belong to their user. */
const STATE = "/var/lib/", CONFIGURATION = "/etc/";

/** Throws when a path cannot stand in a unit. */
export function systemdUnit({ executable, config, store, secrets, maildirs, sharedKv }: ServiceFacts): string {
  const writable = maildirs.map((path) => `ReadWritePaths=-${plainPath(path)}`);
  const token = sharedKv ? [TOKEN, `EnvironmentFile=-${CONFIGURATION}${SERVICE}/environment`] : [];
  const credentials = secrets.map(({ name, file }) => `LoadCredential=${name}:${plainPath(file)}`);
  return [
    `# Written by "maildemon service install". Changes of your own are safe in a drop-in: systemctl edit ${SERVICE}`,
    "[Unit]",
    "Description=maildemon mail server",
    "Wants=network-online.target",
    "After=network-online.target",
    "",
    "[Service]",
    "Type=exec",
    `ExecStart=${plainPath(executable)} --config ${plainPath(config)} serve`,
    "ExecReload=kill -HUP $MAINPID",
    "Restart=always",
    "RestartSec=5s",
    "# The server lets what is arriving end, and stops within 20 seconds by itself.",
    "TimeoutStopSec=30s",
    "LimitNOFILE=65536",
    "",
    "# Not DynamicUser: a mailbox server such as Dovecot has to read the Maildirs as this user, whose number must stay.",
    `User=${SERVICE}`,
    "UMask=0077",
    "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ...folders(config, store),
    ...writable,
    ...token,
    ...credentials.length > 0 ? [HANDED_OVER, ...credentials] : [],
    "",
    HARDENING,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}

const TOKEN = "# DENO_KV_ACCESS_TOKEN=… for the store that several machines share. For root alone.";
const HANDED_OVER = "# Secrets that root alone may read: systemd hands them over when the service starts.";

const HARDENING = `\
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
# AF_NETLINK: it asks which addresses are its own. AF_UNIX: the control socket, and LMTP.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
# Not MemoryDenyWriteExecute: the JavaScript engine compiles while it runs.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM`;

/** What systemd-sysusers makes the user of. */
export function sysusersLine(store: string): string {
  return `u ${SERVICE} - "maildemon mail server" ${plainPath(store)} -\n`;
}

function folders(config: string, store: string): string[] {
  const lines: string[] = [];
  // systemd would make the folder of the configuration when it is missing, and keeps it root's.
  if (config.startsWith(`${CONFIGURATION}${SERVICE}/`)) lines.push(`ConfigurationDirectory=${SERVICE}`);
  if (!isStateFolder(store)) return [...lines, `ReadWritePaths=${plainPath(store)}`];
  // With what root has put into it before the first start, it becomes the user's.
  return [...lines, `StateDirectory=${plainPath(store).slice(STATE.length)}`, "StateDirectoryMode=0700"];
}

/** False when its owner has to be set by hand. */
export function isStateFolder(store: string): boolean {
  return store.startsWith(STATE) && store.length > STATE.length;
}
