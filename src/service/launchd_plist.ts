/** The property list with which launchd runs the server on macOS. */

import { SERVICE, type ServiceFacts } from "./service_facts.ts";

/** By the habit of macOS, users of services begin with `_`. */
export const LAUNCHD_USER = `_${SERVICE}`;

/** Secrets are not handed over here: the user has to be able to read the files. */
export function launchdPlist({ executable, config, store }: Omit<ServiceFacts, "secrets">): string {
  const words = [executable, "--config", config, "serve"].map((word) => `    <string>${escaped(word)}</string>\n`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${SERVICE}</string>
  <key>ProgramArguments</key>
  <array>
${words.join("")}  </array>
  <key>UserName</key>
  <string>${LAUNCHD_USER}</string>
  <key>WorkingDirectory</key>
  <string>${escaped(store)}</string>
  <key>Umask</key>
  <integer>63</integer>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>5</integer>
  <key>ExitTimeOut</key>
  <integer>30</integer>
  <key>SoftResourceLimits</key>
  <dict>
    <key>NumberOfFiles</key>
    <integer>65536</integer>
  </dict>
  <key>StandardErrorPath</key>
  <string>${escaped(store)}/${SERVICE}.log</string>
</dict>
</plist>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
