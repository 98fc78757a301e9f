/** The steps of a conversation, and how long each may take. */

export const VERBS = ["EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"] as const;
export type Step = typeof VERBS[number] | "connect" | "greeting" | "handshake" | "message" | "final dot";

/** Milliseconds for each step. */
export interface Timeouts {
  readonly connect: number;
  /** Greeting, EHLO, STARTTLS, TLS handshake, AUTH, MAIL, RCPT, RSET: each. */
  readonly command: number;
  readonly data: number;
  /** Each 16 KiB of the message. */
  readonly block: number;
  /** The answer to the final dot. */
  readonly final: number;
  readonly quit: number;
}

/** RFC 5321 §4.5.3.2. */
export const TIMEOUTS: Timeouts = {
  connect: 30_000,
  command: 300_000,
  data: 120_000,
  block: 180_000,
  final: 600_000,
  quit: 10_000,
};

/** Milliseconds. */
export function limitOf(step: Step, limits: Timeouts): number {
  switch (step) {
    case "connect":
      return limits.connect;
    case "DATA":
      return limits.data;
    case "message":
      return limits.block;
    case "final dot":
      return limits.final;
    case "QUIT":
      return limits.quit;
    default:
      return limits.command;
  }
}
