/** The words in which accept, queue and send speak about one message. Types only. */

/** A message as it was promised to its sender with 250. Never changes afterwards. */
export interface Envelope {
  /** Reverse-path, `local@domain`; empty for the null sender. */
  readonly sender: string;
  /** One for each place the message has to get to: two targets of one address are two recipients here. */
  readonly recipients: readonly Recipient[];
  readonly body: "7BIT" | "8BITMIME" | "BINARYMIME";
  readonly smtputf8: boolean;
  /** RFC 3461 §4.3 and §4.4. */
  readonly ret?: "FULL" | "HDRS";
  readonly envid?: string;
  readonly source: Source;
  /** When it was queued, milliseconds since 1970. */
  readonly arrived: number;
  /** Somebody else may have written under this address: nothing is ever sent to it. */
  readonly believed?: false;
  /** Other headers under which it leaves, for targets that name one. */
  readonly versions?: readonly Version[];
}

/** The message with another header. The body is the same. */
export interface Version {
  /** Names of fields that are left out, lower case: all of each name. */
  readonly without: readonly string[];
  /** Fields to put on top, each with its CRLF. */
  readonly lines: string;
}

export interface Recipient {
  /** The address as the sender gave it, `local@domain`: what a bounce names. */
  readonly address: string;
  readonly target: Target;
  /** RFC 3461 §4.1 and §4.2. */
  readonly notify?: readonly Notify[];
  readonly orcpt?: string;
}

export type Notify = "NEVER" | "SUCCESS" | "FAILURE" | "DELAY";

/** Where a copy goes. */
export type Target =
  | {
    readonly to: "maildir";
    /** Folder that holds tmp, new and cur. */
    readonly path: string;
    /** The score for which it lies in a folder of junk. */
    readonly spam?: number;
  }
  | {
    readonly to: "lmtp";
    /** `127.0.0.1:24`, `[::1]:24`, `mail.internal:24` or `unix:/run/dovecot/lmtp`. */
    readonly server: string;
    /** Whose mailbox it is there, `local@domain`. */
    readonly address: string;
    /** The score for which it is marked as spam. */
    readonly spam?: number;
  }
  | { readonly to: "remote"; /** `local@domain`. */ readonly address: string; readonly forward?: Forward }
  /** It need not go anywhere: it has been here before, or it only has to be said that it goes to several. */
  | { readonly to: "nowhere"; readonly because: "loop" | "expanded" };

/** A copy that leaves because an address of ours leads elsewhere. */
export interface Forward {
  /** The address of ours, `local@domain`: bounces come back to its domain. */
  readonly as: string;
  /** Index into `envelope.versions`; absent: every byte as it came. */
  readonly version?: number;
  /** Where it goes is nobody's business: a bounce names our address alone. */
  readonly confidential?: true;
}

/** Who handed the message in. */
export interface Source {
  readonly by: "mx" | "submission" | "submissions" | "command" | "bounce";
  /** Address of the peer, without port. */
  readonly host?: string;
  /** Login of the user who submitted it. */
  readonly user?: string;
  /** Of which message, and which of its recipients, a note to its sender tells; absent in `tells`: of their end. */
  readonly about?: { readonly id: string; readonly recipients: readonly number[]; readonly tells?: "delay" };
}

/**
 * Where a recipient stands. `due` in milliseconds since 1970: of `waiting`, when it is tried next; of `failed` and
 * `delivered`, when the sender is to be told, and 0 once that is done or nobody wants to know.
 */
export interface Standing {
  readonly state: "waiting" | "held" | "delivered" | "failed" | "dropped";
  readonly attempts: number;
  readonly due: number;
  /** Of one that waits: when the sender is to be told that it is late, and 0 once that is done. */
  readonly warning?: number;
  /** Of one that is delivered: what there is to tell, `delivered` when absent. */
  readonly success?: "relayed" | "expanded";
  /** When it was last tried, and the answer to that. */
  readonly lastAttempt?: number;
  readonly reply?: RemoteReply;
  /** Of one that is held because another server's journal has not let go of it yet. */
  readonly adopting?: Adopting;
}

export interface Adopting {
  /** The folder of that journal, and the id that the message has there. */
  readonly from: string;
  readonly id: string;
  /** What it is as soon as it is ours alone. */
  readonly standing: Standing;
}

/** What the other side, or we in its place, said to an attempt. Text is already one clean line of at most 500 characters. */
export interface RemoteReply {
  readonly code: number;
  readonly enhanced: string;
  readonly text: string;
  /** Who said it: `mx.remote.test [192.0.2.1]`, `local`, `dns`. */
  readonly host: string;
}

/** The bytes of a message, header and body, CRLF line ends, not dot-stuffed. */
export interface Content {
  readonly size: number;
  /** Pieces in order, each at most 256 KiB. Throws if the bytes on disk are damaged. */
  pieces(): AsyncIterable<Uint8Array>;
}

/** One attempt to bring a message to some of its recipients, all in one lane. */
export interface Job {
  readonly id: string;
  readonly envelope: Envelope;
  /** Indexes into `envelope.recipients`. */
  readonly recipients: readonly number[];
  readonly content: Content;
  /** True when an earlier process may already have made this attempt without noting its outcome. */
  readonly uncertain: boolean;
}

export interface Outcome {
  /** Index into `envelope.recipients`. */
  readonly recipient: number;
  readonly result: "delivered" | "later" | "failed";
  readonly reply: RemoteReply;
  /** The whole lane is out of reach: its other messages wait without trying. */
  readonly unreachable?: true;
  /**
   * Of what is delivered: it has left to a server that tells nobody (RFC 3464 `relayed`), to one that tells the sender
   * itself (`passed on`), or to several (`expanded`). Absent: it lies in its mailbox.
   */
  readonly success?: "relayed" | "expanded" | "passed on";
}

/**
 * The seam between queue and send. Settles with one outcome for each recipient of the job; what it leaves out or
 * throws counts as `later`.
 */
export type Deliver = (job: Job) => Promise<readonly Outcome[]>;
