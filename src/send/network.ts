/** Which addresses mail may be sent to. */

import { asSeen, type Ip, isIn, type Network, parseIp, parseNetwork } from "../smtp/network.ts";

// RFC 6890 and its successors: none of these can be the address of somebody else's mail server. A domain whose MX
// points into them would have us talk to ourselves or to the machines behind our firewall.
const NOT_PUBLIC = networks([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "224.0.0.0/3",
  "::/96",
  "100::/64",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
]);
const LOOPBACK = networks(["127.0.0.0/8", "::1"]);

export interface NetworkSettings {
  /**
   * Networks (`10.1.0.0/16`, `fd00::1`) that may be sent to although they are not public. An address of this machine
   * may when it is named by itself.
   */
  readonly allowPrivate: readonly string[];
  /** The addresses of this machine as they are now: a host that has one of them is we. */
  readonly own: () => readonly string[];
}

export type Belonging = "public" | "private" | "own";

/** Tells of an address where it belongs; what is not an IP address counts as private. */
export type Judge = (address: string) => Belonging;

/** Throws a `TypeError` that names the entry of `allowPrivate` which is not a network. */
export function openNetworks({ allowPrivate, own }: NetworkSettings): Judge {
  const allowed = networks(allowPrivate);
  return (address) => {
    const ip = parseIp(address);
    if (ip === undefined) return "private";
    const faces = [ip, asSeen(ip)];
    const ours = networks(own().filter((one) => parseNetwork(one) !== undefined));
    // Named itself, and not only with the network around it: where a message would come back to us is no accident.
    if (allowed.some((one) => isSingle(one) && isIn(ip, one))) return "public";
    if (faces.some((face) => among(face, ours))) return "own";
    return faces.some((face) => among(face, NOT_PUBLIC) && !among(face, allowed)) ? "private" : "public";
  };
}

/** True for 127.0.0.0/8 and ::1 in any spelling. */
export function isLoopback(address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && among(ip, LOOPBACK);
}

function networks(texts: readonly string[]): Network[] {
  return texts.map((text) => {
    const network = parseNetwork(text);
    if (network === undefined) {
      throw new TypeError(`Cannot read network "${text}": must be ADDRESS or ADDRESS/BITS, such as 10.0.0.0/8`);
    }
    return network;
  });
}

function isSingle({ family, length }: Network): boolean {
  return length === (family === 4 ? 32 : 128);
}

function among(ip: Ip, list: readonly Network[]): boolean {
  return list.some((network) => isIn(ip, network));
}
