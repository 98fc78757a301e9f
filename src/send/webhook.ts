/**
 * Tells a program of the user's own who has unsubscribed: a POST, signed by the scheme of standardwebhooks.com, made
 * again until it is answered with 2xx. What is still to be called lies in the store, and survives everything.
 */

import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";
import { type Log, reasonOf } from "../log.ts";
import type { WebhookCall } from "../store/webhook_calls.ts";
import { oneLine } from "./remote_reply.ts";

export interface WebhookSettings {
  readonly url: string;
  /** `whsec_BASE64`, or any text. */
  readonly secret: string;
}

export interface WebhookParts {
  /** `store/webhook_calls` */
  readonly calls: {
    claim(): Promise<WebhookCall | undefined>;
    done(call: WebhookCall): Promise<void>;
    defer(call: WebhookCall, wait: number): Promise<void>;
  };
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds after the first, second, … attempt; the last one repeats. */
  readonly waits?: readonly number[];
  /** Milliseconds for an answer. */
  readonly patience?: number;
}

const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE;
const WAITS = [5 * SECOND, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR];
const GIVE_UP_AFTER = 5 * 24 * HOUR, PATIENCE = 10 * SECOND;
/** Another process may have put a call down, and nobody tells. */
const LOOK_EACH = 5 * SECOND;

export class Webhook {
  readonly #settings: WebhookSettings;
  readonly #parts: WebhookParts;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #wake: () => void = () => {};

  /** Begins at once with what is due. */
  constructor(settings: WebhookSettings, parts: WebhookParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#running = this.#run();
  }

  /** A call has been put down. */
  wake(): void {
    this.#wake();
  }

  /** Begins no other call, and ends the one that is under way. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { calls, log } = this.#parts;
    while (!this.#stopping.signal.aborted) {
      try {
        const call = await calls.claim();
        if (call === undefined) await this.#pause();
        else await this.#make(call);
      } catch (error) {
        // The store is in trouble: what is claimed is free again in a minute.
        log("error", "webhook-stuck", { error: reasonOf(error) });
        await this.#pause();
      }
    }
  }

  async #make(call: WebhookCall): Promise<void> {
    const { calls, log, now = Date.now, waits = WAITS } = this.#parts;
    const { id, user, address, attempts, at } = call, facts = { call: id, user, address, attempts: attempts + 1 };
    const trouble = await this.#post(call);
    if (trouble === undefined) {
      await calls.done(call);
      log("info", "webhook-called", facts);
    } else if (this.#stopping.signal.aborted) {
      await calls.defer(call, 0);
    } else if (now() - at > GIVE_UP_AFTER && attempts >= waits.length) {
      await calls.done(call);
      log("error", "webhook-given-up", { ...facts, reason: trouble });
    } else {
      await calls.defer(call, waits[Math.min(attempts, waits.length - 1)] ?? HOUR);
      log("warning", "webhook-deferred", { ...facts, reason: trouble });
    }
  }

  /** Why it did not get through. */
  async #post(call: WebhookCall): Promise<string | undefined> {
    const { url, secret } = this.#settings, { now = Date.now, patience = PATIENCE } = this.#parts;
    const body = bodyOf(call), timestamp = String(Math.trunc(now() / 1000));
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "user-agent": "maildemon",
          "webhook-id": call.id,
          "webhook-timestamp": timestamp,
          "webhook-signature": `v1,${signatureOf(secret, `${call.id}.${timestamp}.${body}`)}`,
        },
        body,
        // A signed call goes to the address that the settings name, and nowhere else.
        redirect: "manual",
        signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(patience)]),
      });
      await answer.body?.cancel();
      return answer.ok ? undefined : `answered ${answer.status}`;
    } catch (error) {
      const { message, cause } = error instanceof Error ? error : { message: String(error), cause: undefined };
      const { href, origin } = new URL(url), text = cause instanceof Error ? `${message}: ${cause.message}` : message;
      // What stands behind the host is often a key, and a log is read by more people than the settings.
      return oneLine(text.replaceAll(href, origin));
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), LOOK_EACH);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
      if (this.#stopping.signal.aborted) this.#wake();
    });
  }
}

function bodyOf({ user, address, by, message, at }: WebhookCall): string {
  return JSON.stringify({
    type: "unsubscribe",
    timestamp: new Date(at).toISOString(),
    data: { user, address, by, ...(message !== undefined && { id: message }) },
  });
}

function signatureOf(secret: string, text: string): string {
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
  return createHmac("sha256", key).update(text).digest("base64");
}
