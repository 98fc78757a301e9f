/** A session without a network: bytes in, replies out, questions answered at once by a host in memory. */

import type { Effect } from "../../src/smtp/effect.ts";
import { formatReply } from "../../src/smtp/reply.ts";
import { Session, type SessionSettings } from "../../src/smtp/session.ts";
import { SESSION } from "./front.ts";
import { MemoryHost } from "./memory_host.ts";

export class PurePeer {
  readonly host: MemoryHost;
  readonly session: Session;
  /** One entry for each reply, its lines without CRLF. */
  readonly replies: string[][] = [];
  readonly effects: Effect["do"][] = [];
  closed = false;
  waitsForTls = false;
  #greeting: Effect[];

  /** The question of the greeting stays open until `greet`. */
  constructor(settings: Partial<SessionSettings> = {}, host: MemoryHost = new MemoryHost()) {
    this.host = host;
    this.session = new Session({ ...SESSION, secure: settings.kind === "submissions", ...settings });
    this.#greeting = this.session.open();
  }

  greet(): void {
    this.#perform(this.#greeting);
    this.#greeting = [];
  }

  feed(...pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      // A buffer that is used again: who kept a view of it reads nonsense from here on.
      const lent = piece.slice();
      this.#perform(this.session.receive(lent));
      lent.fill(0x7e);
    }
  }

  secured(): void {
    this.waitsForTls = false;
    this.#perform(this.session.secured());
  }

  hangUp(): void {
    this.#perform(this.session.hangUp());
  }

  /** The first lines of what was said since the last call. */
  take(): string[] {
    return this.replies.splice(0).map(([first = ""]) => first);
  }

  #perform(effects: readonly Effect[]): void {
    while (effects.length > 0) {
      let next: readonly Effect[] = [];
      for (const [index, effect] of effects.entries()) {
        this.effects.push(effect.do);
        if (this.closed) throw new Error(`${effect.do} after close`);
        switch (effect.do) {
          case "send":
            this.replies.push(formatReply(effect.reply).split("\r\n").slice(0, -1));
            break;
          case "body":
            this.host.body(effect.bytes);
            break;
          case "discard":
            this.host.discard();
            break;
          case "ask":
            if (index !== effects.length - 1) throw new Error("a question is not the last of its batch");
            next = this.session.answer(this.host.decide(effect.question));
            break;
          case "startTls":
            if (index !== effects.length - 1) throw new Error("startTls is not the last of its batch");
            this.waitsForTls = true;
            break;
          case "close":
            this.closed = true;
            break;
          default:
            effect satisfies never;
        }
      }
      effects = next;
    }
  }
}
