/** What can go wrong with the spool, told apart by what its caller has to do about it. */

/** Nothing was stored: disk full, I/O error. RFC 5321 §4.2.2: 452, and the sender keeps the message. */
export class StoreFailed extends Error {
  override readonly name = "StoreFailed";
}

/** Another process works on this queue. */
export class SpoolLocked extends Error {
  override readonly name = "SpoolLocked";
}

/** The bytes on disk are not those that were written. The message has to be set aside. */
export class Damaged extends Error {
  override readonly name = "Damaged";
}
