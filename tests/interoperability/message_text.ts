/** Messages as tests write them and as they find them again. */

import assert from "node:assert/strict";
import { bytesOf, seeded, textOf } from "../support/every_cut.ts";

/** What a server puts above a message. Every message of these tests begins with another field. */
const ADDED =
  /^(?:(?:Return-Path|Delivered-To|Received|Authentication-Results|Received-SPF|DKIM-Signature):[^\n]*\n(?:[ \t][^\n]*\n)*)+/i;

let tags = 0;
/** A word that stands nowhere else. */
export function newTag(): string {
  return `t${++tags}x${crypto.randomUUID().slice(0, 8)}`;
}

/** With CRLF line ends. */
export function lines(...text: readonly string[]): string {
  return text.map((line) => `${line}\r\n`).join("");
}

/** A small message that lacks nothing, so that a submission server adds nothing but trace and signature. */
export function letter(from: string, to: string, ...body: readonly string[]): string {
  return lines(
    `From: <${from}>`,
    `To: <${to}>`,
    "Subject: a test",
    "Date: Sun, 22 Nov 2026 03:04:05 +0000",
    `Message-ID: <${crypto.randomUUID()}@client.test>`,
    "",
    ...body,
  );
}

/** Everything that a wrong treatment of dots changes: they begin, end and make up lines. */
export const DOTS = ["..", ".", "...", ". .", ".a", "..b", "a.", "", ".", "", ".\t", "a", ".."];

/** Every byte value, CRLFs in all places, bare CR and LF, lines of dots, no line end at its end; the same each time. */
export function binary(size: number): Uint8Array {
  const bytes = new Uint8Array(size), random = seeded(7);
  for (let at = 0; at < size; at++) bytes[at] = at < 65536 ? at % 256 : (random() * 256) | 0;
  for (let at = 70_000; at + 7 < size; at += 9973) bytes.set(bytesOf("\r\n.\r\n.\n"), at);
  return bytes;
}

/** The trace and signature lines above a message, as text. */
export function added(message: Uint8Array): string {
  return ADDED.exec(textOf(message.subarray(0, 8192)))?.[0] ?? "";
}

/** What is below them. */
export function below(message: Uint8Array): Uint8Array {
  return message.subarray(added(message).length);
}

/** Equal to the last byte; when not, says where the difference begins instead of printing megabytes. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array | string): void {
  const wanted = typeof expected === "string" ? bytesOf(expected) : expected;
  const at = wanted.findIndex((byte, index) => actual[index] !== byte);
  if (at < 0 && actual.length === wanted.length) return;
  const from = Math.max(0, at < 0 ? wanted.length - 20 : at - 20);
  const cut = (bytes: Uint8Array) => JSON.stringify(textOf(bytes.subarray(from, from + 80)));
  assert.fail(
    `${actual.length} bytes instead of ${wanted.length}, from ${from}: ${cut(actual)} instead of ${cut(wanted)}`,
  );
}
