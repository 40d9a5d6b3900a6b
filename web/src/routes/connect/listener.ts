// How a listener is written in a switch and in a firewall.
import type { Listener } from "../../api/types";

const host = (address: string) => (address.includes(":") ? `[${address}]` : address);

/** `192.0.2.10:5060` */
export function socketOf({ address, port }: Listener): string {
  return `${host(address)}:${port}`;
}

/** `sip:192.0.2.10:5060;transport=udp` */
export function uriOf(listener: Listener): string {
  return `sip:${socketOf(listener)};transport=${listener.transport}`;
}
