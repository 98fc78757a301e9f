/** The story of a message as a person reads it: what was decided, each check with the setting behind it, what came after. */

import type { Fields } from "../log.ts";
import type { SettingThen, Told } from "../store/stories.ts";
import { printable } from "./table.ts";

export type DecisionTold = Extract<Told, { readonly tells: "decision" }>;
export type EventTold = Extract<Told, { readonly tells: "event" }>;

/** `configFile`: where the lines of the settings are counted. */
export function formatStory(
  story: DecisionTold,
  events: readonly EventTold[],
  configFile: string,
  colour: boolean,
): string {
  const { at, reply, from, to, host, helo, by, connection, user } = story;
  const isTaken = /^[23]/.test(reply), paint = (text: string) => colour ? `\x1b[1m${text}\x1b[0m` : text;
  const who = [helo === undefined ? undefined : printable(helo), `[${host}]`, user && `as ${printable(user)}`, by];
  const lines = [
    paint(`${formatMoment(at)}  ${isTaken ? "taken" : "refused"}: ${printable(reply)}`),
    `  by ${who.filter((word) => word !== undefined).join(" ")}, connection ${connection}`,
  ];
  if (from !== undefined) {
    const recipients = to.length === 0 ? "" : ` to ${to.map(printable).join(", ")}`;
    lines.push(`  from ${from === "" ? "<>" : printable(from)}${recipients}`);
  }
  const widest = Math.max(0, ...story.steps.map(({ check }) => check.length));
  for (const { check, found, setting, decides, would } of story.steps) {
    const mark = decides !== undefined || would !== undefined ? "→" : " ", indent = " ".repeat(6 + widest);
    lines.push(`  ${mark} ${printable(check).padEnd(widest)}  ${printable(found)}`);
    if (would !== undefined) lines.push(`${indent}${printable(would)}`);
    if (setting !== undefined) lines.push(`${indent}${settingText(setting, configFile)}`);
  }
  return [...lines, ...events.map((event) => `  ${eventText(event)}`)].join("\n");
}

function settingText({ key, value, line }: SettingThen, configFile: string): string {
  const where = line === undefined ? value === "not set" ? "" : " (the default)" : ` (${configFile}:${line})`;
  return `${printable(key)} = ${printable(value)}${where}`;
}

export function eventText({ at, event, fields }: EventTold): string {
  const { id: _id, ...rest } = fields;
  return `${formatMoment(at)}  ${event} ${fieldsText(rest)}`.trimEnd();
}

function fieldsText(fields: Fields): string {
  return Object.entries(fields).filter(([, value]) => value !== undefined)
    .map(([key, value]) =>
      `${key}=${printable(/^[^\s"]+$/.test(String(value)) ? String(value) : JSON.stringify(value))}`
    )
    .join(" ");
}

function formatMoment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")}Z`;
}
