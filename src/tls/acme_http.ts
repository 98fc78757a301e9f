/**
 * How an order speaks to the authority: by `fetch`, in place of the library's own HTTP, which knows no deadline, hides
 * why a call failed, and waits inside the call for as long as the authority says, which may be a week.
 */

import type { axios } from "acme-client";
import { problemOf, retryAfter } from "./acme_problem.ts";

/** What the library calls for each request. */
export type Adapter = Extract<NonNullable<typeof axios.defaults.adapter>, (...about: never[]) => unknown>;

/** Milliseconds for one request, and octets of an answer. */
const REQUEST_LIMIT = 30_000, MAX_ANSWER = 1_048_576;

/** `directoryCa`: PEM, beside the authorities that everybody trusts. The adapter rejects with Problem for a refusal. */
export function openAcmeHttp(
  directoryCa: string | undefined,
  signal: AbortSignal,
): { readonly adapter: Adapter; close(): void } {
  const client = Deno.createHttpClient(directoryCa === undefined ? {} : { caCerts: [directoryCa] });
  return {
    close: () => client.close(),
    async adapter(config) {
      const url = config.url ?? "", limit = AbortSignal.timeout(REQUEST_LIMIT);
      const answer = await fetch(url, {
        client,
        method: config.method?.toUpperCase() ?? "GET",
        headers: Object.entries(config.headers.toJSON(true)).map(([name, value]) => [name, String(value)]),
        ...(typeof config.data === "string" && { body: config.data }),
        redirect: "manual",
        signal: AbortSignal.any([signal, limit]),
      }).catch((error) => {
        throw limit.aborted ? new Error(`no answer within ${REQUEST_LIMIT / 1000} s`) : new Error(reasonOf(error));
      });
      const data = await textOf(answer), headers = Object.fromEntries(answer.headers);
      const response = { data, status: answer.status, statusText: answer.statusText, headers, config };
      if (answer.status < 300) return response;
      const problem = problemOf(
        parsed(data),
        `it answers ${answer.status} to ${url}`,
        retryAfter(headers["retry-after"], Date.now()),
      );
      // The library tries once more with a fresh one.
      if (problem.type !== "badNonce") throw problem;
      return response;
    },
  };
}

/** `fetch failed` says nothing; what it was stands behind it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function textOf(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of answer.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    if (text.length > MAX_ANSWER) {
      throw new Error(`${new URL(answer.url).host} answers with more than ${MAX_ANSWER} bytes`);
    }
  }
  return text;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
