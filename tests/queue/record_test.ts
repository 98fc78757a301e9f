import assert from "node:assert/strict";
import {
  checksum,
  decodeHead,
  encodeRecord,
  HEADER_LENGTH,
  isSound,
  type Kind,
  recordLength,
} from "../../src/queue/record.ts";
import { letter } from "./spooled.ts";

const mark = Uint8Array.of(200, 1, 2, 3, 4, 5, 6, 7);

function encoded(kind: Kind, meta: Uint8Array, body: Uint8Array): Uint8Array {
  const record = { kind, id: "0123456789ab", meta, body, bodyCheck: checksum(body) };
  const target = new DataView(new ArrayBuffer(recordLength(record) + 6));
  assert.equal(encodeRecord(target, 3, mark, record), recordLength(record) + 3);
  return new Uint8Array(target.buffer).slice(3, -3);
}

Deno.test("record says again what was written, for each kind", () => {
  for (const kind of ["begin", "message", "part", "sealed", "outcome", "gone"] as const) {
    for (const [metaLength, bodyLength] of [[0, 0], [1, 0], [0, 1], [300, 5000]] as const) {
      const meta = letter(metaLength), body = letter(bodyLength, 9);
      const bytes = encoded(kind, meta, body);
      const head = decodeHead(bytes.subarray(0, HEADER_LENGTH), mark);
      const bodyCheck = checksum(body);
      assert.deepEqual(head, { kind, id: "0123456789ab", metaLength, bodyLength, bodyCheck });
      assert.ok(isSound(bytes.subarray(0, HEADER_LENGTH), bytes.subarray(HEADER_LENGTH, HEADER_LENGTH + metaLength)));
      assert.deepEqual(bytes.subarray(HEADER_LENGTH + metaLength), body);
    }
  }
});

Deno.test("record with any one bit of header or meta flipped is not taken", () => {
  const bytes = encoded("message", letter(20), letter(10)), end = HEADER_LENGTH + 20;
  for (let bit = 0; bit < end * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const taken = decodeHead(flipped.subarray(0, HEADER_LENGTH), mark) !== undefined &&
      isSound(flipped.subarray(0, HEADER_LENGTH), flipped.subarray(HEADER_LENGTH, end));
    assert.equal(taken, false, `bit ${bit}`);
  }
});
