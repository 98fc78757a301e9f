import assert from "node:assert/strict";
import { listFields } from "../../src/accept/list_unsubscribe.ts";
import { type Mailbox, parseMailbox } from "../../src/smtp/address.ts";

function mailbox(text: string): Mailbox {
  return parseMailbox(text) ?? assert.fail(text);
}

Deno.test("with a link, one click and mail both unsubscribe, the link first", () => {
  assert.equal(
    listFields(mailbox("ann@ours.test"), "https://mail.ours.test/unsubscribe/abc.def"),
    "List-Unsubscribe: <https://mail.ours.test/unsubscribe/abc.def>,\r\n" +
      " <mailto:ann@ours.test?subject=unsubscribe>\r\n" +
      "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
  );
});

Deno.test("without a link nothing says that one click will do", () => {
  assert.equal(
    listFields(mailbox("ann@ours.test"), undefined),
    "List-Unsubscribe: <mailto:ann@ours.test?subject=unsubscribe>\r\n",
  );
});

Deno.test("signs that mean something in a mailto URL are escaped", () => {
  assert.equal(
    listFields(mailbox("a&b?c%d+e@ours.test"), undefined),
    "List-Unsubscribe: <mailto:a%26b%3Fc%25d%2Be@ours.test?subject=unsubscribe>\r\n",
  );
});
