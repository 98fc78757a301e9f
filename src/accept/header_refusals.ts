/** What is said to a header that cannot be read, and which limit says so. */

import type { HeaderProblem } from "../smtp/headers.ts";
import { because, type Reply, reply } from "../smtp/reply.ts";

export const HEADER_REFUSALS: Readonly<Record<HeaderProblem, Reply>> = {
  "too large": because(reply(554, "5.6.0", "The header is too large"), "header", "too large", "limits.max_header"),
  "too many fields": because(
    reply(554, "5.6.0", "The header has too many fields"),
    "header",
    "too many fields",
    "limits.max_header_fields",
  ),
  "folded too often": because(
    reply(554, "5.6.0", "A header field is folded into too many lines"),
    "header",
    "a field of more than 500 lines",
  ),
  "bare line end": because(
    reply(554, "5.6.0", "The header holds a CR or LF that is not part of CRLF"),
    "header",
    "a bare CR or LF",
  ),
};
