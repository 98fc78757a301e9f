import assert from "node:assert/strict";
import { DURATIONS, formatQuantity, meantQuantity, parseQuantity, SIZES } from "../../src/config/units.ts";

Deno.test("units read sizes in bytes and durations in milliseconds", () => {
  assert.equal(parseQuantity("0B", SIZES), 0);
  assert.equal(parseQuantity("500B", SIZES), 500);
  assert.equal(parseQuantity("2kB", SIZES), 2000);
  assert.equal(parseQuantity("2KiB", SIZES), 2048);
  assert.equal(parseQuantity("2MB", SIZES), 2_000_000);
  assert.equal(parseQuantity("25MiB", SIZES), 26_214_400);
  assert.equal(parseQuantity("1GiB", SIZES), 1_073_741_824);
  assert.equal(parseQuantity("500ms", DURATIONS), 500);
  assert.equal(parseQuantity("30s", DURATIONS), 30_000);
  assert.equal(parseQuantity("5m", DURATIONS), 300_000);
  assert.equal(parseQuantity("24h", DURATIONS), 86_400_000);
  assert.equal(parseQuantity("14d", DURATIONS), 1_209_600_000);
});

Deno.test("units refuse what is not digits and one known unit", () => {
  for (
    const text of ["", "25", "MiB", "25 MiB", "25mib", "1.5MiB", "-1MiB", "+1B", "1e3B", "25MiBs", "9999999999999999B"]
  ) {
    assert.equal(parseQuantity(text, SIZES), undefined, text);
  }
  for (const text of ["5", "5M", "5min", "1h30m", " 5m", "5m\n", "\u0665m"]) {
    assert.equal(parseQuantity(text, DURATIONS), undefined, text);
  }
});

Deno.test("units write an amount in the largest unit without a remainder", () => {
  for (const text of ["0B", "500B", "256KiB", "25MiB", "1GiB", "2kB"]) {
    assert.equal(formatQuantity(parseQuantity(text, SIZES) ?? NaN, SIZES), text);
  }
  for (const text of ["500ms", "30s", "5m", "5d", "0ms"]) {
    assert.equal(formatQuantity(parseQuantity(text, DURATIONS) ?? NaN, DURATIONS), text);
  }
});

Deno.test("units tell what was meant", () => {
  const any = () => true;
  assert.equal(meantQuantity("25 mib", SIZES, any), "25MiB");
  assert.equal(meantQuantity("25 mb", SIZES, any), "25MB");
  assert.equal(meantQuantity("25M", SIZES, any), "25MiB");
  assert.equal(meantQuantity("25", SIZES, any), "25B");
  assert.equal(meantQuantity("25", SIZES, (bytes) => bytes >= 65_536), "25MiB");
  assert.equal(meantQuantity("5 Min", DURATIONS, any), "5m");
  assert.equal(meantQuantity("3sec", DURATIONS, any), "3s");
  assert.equal(meantQuantity("3 msecs", DURATIONS, any), "3ms");
  assert.equal(meantQuantity("300", DURATIONS, (ms) => ms >= 1000), "300s");
  assert.equal(meantQuantity("3 months", DURATIONS, any), undefined);
  assert.equal(meantQuantity("soon", DURATIONS, any), undefined);
  assert.equal(meantQuantity("1h30m", DURATIONS, any), undefined);
});
