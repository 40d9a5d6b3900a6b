// The settings of a policy as the form shows them, in groups. Names and values are the API's; what a profile sets
// comes from GET /profiles.

export type Choice = { value: string; label: string };

export type Setting = {
  name: string;
  label: string;
  description?: string;
  /** How it is edited. `rules` and `statuses` are texts with one entry a line. */
  kind: "choice" | "text" | "yes" | "number" | "names" | "rules" | "statuses";
  choices?: Choice[];
  /** Only the operator of the exchange changes it. */
  isOperators?: boolean;
};

export type SettingGroup = { group: string; title: string; about: string; settings: Setting[] };

const IDENTITY_FIELDS: Choice[] = [
  { value: "received", label: "as the other member wrote it" },
  { value: "p-asserted-identity", label: "P-Asserted-Identity" },
  { value: "remote-party-id", label: "Remote-Party-ID" },
  { value: "both", label: "both of these" },
  { value: "nowhere", label: "nowhere: From alone" },
];

const PASS_OR_REFUSE: Choice[] = [
  { value: "refuse", label: "are refused" },
  { value: "pass", label: "cross" },
];

export const SETTING_GROUPS: SettingGroup[] = [
  {
    group: "numbers",
    title: "Numbers",
    about: "What it sends is read by its prefixes, in whichever form; what it is sent is written in one form.",
    settings: [
      {
        name: "form",
        label: "Is sent numbers as",
        kind: "choice",
        choices: [
          { value: "e164", label: "+442079460000" },
          { value: "plain", label: "442079460000" },
          { value: "international", label: "00442079460000" },
          { value: "national", label: "02079460000 at home, 00… abroad" },
          { value: "significant", label: "2079460000 at home, 00… abroad" },
        ],
      },
      { name: "country", label: "Country code", description: "Of its national numbers, such as 44", kind: "text" },
      { name: "national_prefix", label: "National prefix", description: "0 in most of Europe, 1 in North America", kind: "text" },
      { name: "international_prefix", label: "International prefix", description: "00, or 011 in North America", kind: "text" },
      {
        name: "unprefixed",
        label: "Digits without a prefix are",
        kind: "choice",
        choices: [
          { value: "international", label: "E.164" },
          { value: "national", label: "national numbers" },
        ],
      },
      {
        name: "calling",
        label: "Calling numbers",
        kind: "choice",
        choices: [
          { value: "received", label: "as the other member wrote them" },
          { value: "converted", label: "in the same form as called numbers" },
        ],
      },
      { name: "user_phone", label: "URIs with a number say user=phone", kind: "yes" },
      {
        name: "write_routing_number",
        label: "Is told to where a number was ported",
        description: "By rn and npdi in the Request-URI (RFC 4694)",
        kind: "yes",
      },
      {
        name: "routing_number",
        label: "Trusted with routing numbers",
        description: "The rn and npdi that it sends decide, and the number is not looked up again",
        kind: "yes",
        isOperators: true,
      },
    ],
  },
  {
    group: "identity",
    title: "Who calls",
    about: "RFC 3325. An untrusted switch is not told callers who withhold their number, and what it asserts is not believed.",
    settings: [
      { name: "write", label: "Is told the caller in", kind: "choice", choices: IDENTITY_FIELDS },
      { name: "trusted", label: "Trusted with identities", kind: "yes", isOperators: true },
    ],
  },
  {
    group: "diversion",
    title: "Diverted calls",
    about: "RFC 5806 and RFC 7044; one field is made of the other (RFC 7544).",
    settings: [
      {
        name: "write",
        label: "Is told who diverted in",
        kind: "choice",
        choices: [
          { value: "received", label: "Diversion, as the other member wrote it" },
          { value: "diversion", label: "Diversion" },
          { value: "history-info", label: "History-Info" },
          { value: "both", label: "both of these" },
          { value: "nowhere", label: "nowhere" },
        ],
      },
    ],
  },
  {
    group: "headers",
    title: "Header fields",
    about: "Fields that make dialogs, and those that other settings govern, take no rule.",
    settings: [
      {
        name: "sent.others",
        label: "Fields of no standard, sent to it",
        kind: "choice",
        choices: [
          { value: "keep", label: "cross" },
          { value: "drop", label: "do not cross" },
        ],
      },
      { name: "sent.rules", label: "Rules for what it is sent", description: "One a line: X-Account drop, X-Account keep, or X-Account set 4711", kind: "rules" },
      {
        name: "received.others",
        label: "Fields of no standard, sent by it",
        kind: "choice",
        choices: [
          { value: "keep", label: "cross" },
          { value: "drop", label: "do not cross" },
        ],
      },
      { name: "received.rules", label: "Rules for what it sends", description: "One a line, as above", kind: "rules" },
      {
        name: "own_host",
        label: "The exchange calls itself",
        description: "In Contact, and as the host of callers",
        kind: "choice",
        choices: [
          { value: "address", label: "by its address" },
          { value: "name", label: "by its host name, where it has one" },
        ],
      },
    ],
  },
  {
    group: "failures",
    title: "Failed calls",
    about: "The status that it gets instead of another; Reason with its Q.850 cause crosses as it came.",
    settings: [{ name: "statuses", label: "Statuses", description: "One a line: 603 486", kind: "statuses" }],
  },
  {
    group: "codecs",
    title: "Codecs",
    about: "Only these are offered to it and by it; digits and comfort noise always cross. Empty: every codec.",
    settings: [
      { name: "allow", label: "Codecs", description: "Names as in SDP, such as PCMA. Enter after each.", kind: "names" },
      {
        name: "order",
        label: "Is offered them",
        kind: "choice",
        choices: [
          { value: "received", label: "in the other member's order" },
          { value: "listed", label: "in the order above" },
        ],
      },
    ],
  },
  {
    group: "size",
    title: "Large messages",
    about: "RFC 3261 §18.1.1: a datagram of more than 1,300 octets may be cut on its way. A switch that takes no connection gets it all the same.",
    settings: [
      { name: "tcp_above_bytes", label: "Over TCP above", description: "Octets of a request; empty: never", kind: "number" },
      { name: "max_bytes", label: "Never above", description: "Octets; another endpoint is tried", kind: "number" },
    ],
  },
  {
    group: "session",
    title: "Sessions",
    about: "Session timers (RFC 4028) end a call whose far end has vanished.",
    settings: [
      {
        name: "timer",
        label: "Session timer",
        kind: "choice",
        choices: [
          { value: "ask", label: "the exchange asks for one" },
          { value: "accept", label: "where the switch asks for one" },
          { value: "off", label: "none" },
        ],
      },
      { name: "session_expires_s", label: "Session interval", description: "Seconds, 90 to 86,400", kind: "number" },
      { name: "min_se_s", label: "Shortest interval it may ask for", description: "Seconds, at least 90", kind: "number" },
      { name: "ring_timeout_s", label: "Rings for at most", description: "Seconds, 5 to 600; empty: as long as the exchange says", kind: "number" },
      {
        name: "early_media",
        label: "Sound before the answer",
        kind: "choice",
        choices: [
          { value: "pass", label: "is passed on" },
          { value: "block", label: "is not: it hears ringing" },
        ],
      },
      {
        name: "redirect",
        label: "When it redirects a call (3xx)",
        description:
          "Followed, the number in its Contact is called instead, under the caller's agreements; where that leads is never where a call goes. A Contact without a number of the exchange ends the call.",
        kind: "choice",
        choices: [
          { value: "refuse", label: "the next endpoint is tried" },
          { value: "follow", label: "the number that it names is called" },
        ],
      },
    ],
  },
  {
    group: "requests",
    title: "Texts and transfers",
    about: "They cross in both directions, where the other member's endpoint lets them pass, too; elsewhere they are refused with 405.",
    settings: [
      {
        name: "message",
        label: "Texts (MESSAGE)",
        description: "RFC 3428: a text to a number, or within a call. By UDP it has at most 1,300 octets.",
        kind: "choice",
        choices: PASS_OR_REFUSE,
      },
      {
        name: "refer",
        label: "Transfers (REFER)",
        description: "RFC 3515, within a call: one side asks the other to call a number instead, and is told what came of it (NOTIFY).",
        kind: "choice",
        choices: PASS_OR_REFUSE,
      },
    ],
  },
  {
    group: "direct",
    title: "Calls past the exchange",
    about: "Where both sides want it, the exchange answers a call with the other switch's address (302), and does not carry it.",
    settings: [
      { name: "calls", label: "Calls others directly", description: "Its switch must follow a 302. Who cannot be called directly is called through the exchange.", kind: "yes" },
      { name: "called", label: "May be called directly", description: "Members with an agreement are shown where it takes calls, and must be let through its firewall.", kind: "yes" },
    ],
  },
  {
    group: "probe",
    title: "Probes",
    about: "OPTIONS tells between calls whether the switch is there; what becomes of calls counts in any case.",
    settings: [
      { name: "enabled", label: "Is probed by OPTIONS", kind: "yes" },
      { name: "interval_s", label: "Time between probes", description: "Seconds, 1 to 3,600", kind: "number" },
      { name: "timeout_ms", label: "Waits for an answer", description: "Milliseconds, 200 to 32,000", kind: "number" },
      { name: "fall", label: "Bad signs until it is down", description: "1 to 10 in a row", kind: "number" },
      { name: "rise", label: "Good signs until it is back", description: "1 to 10 in a row", kind: "number" },
      { name: "ramp_s", label: "Takes a growing share for", description: "Seconds once it is back, 0 to 600; 0: all calls at once", kind: "number" },
      { name: "max_retry_after_s", label: "Longest Retry-After that is believed", description: "Seconds, 0 to 3,600", kind: "number" },
      { name: "server_errors", label: "Every 5xx is a bad sign, not only 503", kind: "yes" },
    ],
  },
];

export type Tree = Record<string, unknown>;

const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value);

/** A value that is a text or a number, as text. */
export const textOf = (value: unknown) => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** The value at a path such as `headers.sent.rules`. */
export function valueAt(tree: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((value, name) => (isTree(value) ? value[name] : undefined), tree);
}

/** The tree with another value at a path; without one, `undefined`, the path goes, and groups that are empty with it. */
export function withValue(tree: Tree, path: string, value: unknown): Tree {
  const [name = "", ...rest] = path.split(".");
  const { [name]: before, ...others } = tree;
  const after = rest.length === 0 ? value : withValue(isTree(before) ? before : {}, rest.join("."), value);
  const isGone = after === undefined || (rest.length > 0 && isTree(after) && Object.keys(after).length === 0);
  return isGone ? others : { ...others, [name]: after };
}

/** The paths of all settings in a tree such as a profile has: what is under `rules` and `statuses` is one setting. */
export function pathsOf(tree: Tree, under = ""): string[] {
  return Object.entries(tree).flatMap(([name, value]) =>
    isTree(value) && name !== "rules" && name !== "statuses" ? pathsOf(value, `${under}${name}.`) : [`${under}${name}`],
  );
}

/** How many settings of a group differ from the profile. */
export function countDiffering({ group, settings }: SettingGroup, overrides: Tree): number {
  return settings.filter(({ name }) => valueAt(overrides, `${group}.${name}`) !== undefined).length;
}

/** Header rules as text: `X-Account drop`, `X-Account set 4711`. */
export function textOfRules(rules: unknown): string {
  if (!isTree(rules)) return "";
  return Object.entries(rules)
    .map(([name, rule]) => (isTree(rule) ? `${name} set ${textOf(rule.set)}` : `${name} ${String(rule)}`))
    .join("\n");
}

/** The rules that a text says; the API judges names and words. */
export function rulesOf(text: string): Tree {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [name = "", rule = "", ...value] = line.split(/\s+/);
      return [name.replace(/:$/, ""), rule === "set" ? { set: value.join(" ") } : rule];
    }),
  );
}

/** Statuses as text: `603 486`. */
export function textOfStatuses(statuses: unknown): string {
  if (!isTree(statuses)) return "";
  return Object.entries(statuses)
    .map(([from, to]) => `${from} ${String(to)}`)
    .join("\n");
}

/** The statuses that a text says; what is no number is left for the API to judge. */
export function statusesOf(text: string): Tree {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [from = "", to = ""] = line.split(/\D+/);
      return [from, Number(to)];
    }),
  );
}

const linesOf = (text: string) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
