// The target of an endpoint as three fields of a form: address or name, port, transport.
import type { Listener } from "../../api/types";

/** Empty: DNS says it, for a name. */
type Transport = Listener["transport"] | "";

export type TargetFields = { host: string; port: number | ""; transport: Transport };

/** The target of an endpoint that takes its calls wherever it registers; a host of this name stands for it. */
export const REGISTRATION = "registration";

/** `sip:192.0.2.21:5060;transport=udp` from the fields; the API says what is wrong with them. */
export function targetOf({ host, port, transport }: TargetFields): string {
  if (host === REGISTRATION) return REGISTRATION;
  const bare = host.trim().replace(/^\[(.*)\]$/, "$1");
  const written = bare.includes(":") ? `[${bare}]` : bare;
  return `sip:${written}${port === "" ? "" : `:${port}`}${transport === "" ? "" : `;transport=${transport}`}`;
}

/** The fields of a target as the API writes it. */
export function fieldsOf(target: string): TargetFields {
  if (target === REGISTRATION) return { host: REGISTRATION, port: "", transport: "" };
  const parts = /^sip:(\[[^\]]+\]|[^:;]+)(?::(\d+))?(?:;transport=(udp|tcp|tls))?$/.exec(target);
  const [, host = "", port, transport] = parts ?? [];
  return {
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: port === undefined ? "" : Number(port),
    transport: (transport ?? "") as Transport,
  };
}
