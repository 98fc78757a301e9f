/** A change that has been made ready: whatever can fail has been tried, and nobody has noticed it yet. */
export interface Prepared {
  /** It is in force from now on. Never throws. */
  use(): void;
  /** Nobody will have noticed; nothing once it is used. */
  cancel(): void;
}
