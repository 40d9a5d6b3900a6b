// The rail with the way to every page, and who is signed in.
import { ActionIcon, Anchor, AppShell, Burger, Group, Stack, Text, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";
import { Link, NavLink, useNavigate } from "react-router";

import type { Session } from "../api/types";
import { Icon, type IconName } from "../parts/Icon";
import { Mark } from "../parts/Mark";
import { SchemeToggle } from "../parts/SchemeToggle";
import { useSignOut } from "./session";

type Entry = { to: string; label: string; icon: IconName };
type EntryGroup = { title?: string; entries: Entry[] };

const MEMBER: EntryGroup[] = [
  { entries: [{ to: "/overview", label: "Overview", icon: "overview" }] },
  {
    title: "Connect",
    entries: [
      { to: "/connect", label: "Where to connect", icon: "plug" },
      { to: "/endpoints", label: "Endpoints", icon: "endpoint" },
    ],
  },
  {
    title: "Reach",
    entries: [
      { to: "/ranges", label: "Ranges", icon: "range" },
      { to: "/announcements", label: "Announcements", icon: "announcement" },
      { to: "/change-sets", label: "Change sets", icon: "check" },
      { to: "/agreements", label: "Agreements", icon: "agreement" },
      { to: "/clubs", label: "Clubs", icon: "club" },
      { to: "/transit", label: "Transit", icon: "arrow" },
      { to: "/block-list", label: "Block list", icon: "cross" },
    ],
  },
  {
    title: "Watch",
    entries: [
      { to: "/calls", label: "Calls", icon: "call" },
      { to: "/traces", label: "Traces", icon: "trace" },
      { to: "/lookup", label: "Lookup", icon: "lookup" },
    ],
  },
  {
    title: "Access",
    entries: [
      { to: "/tokens", label: "Tokens", icon: "token" },
      { to: "/users", label: "Users", icon: "member" },
      { to: "/history", label: "History", icon: "history" },
    ],
  },
];

const OPERATOR: EntryGroup[] = [
  { entries: [{ to: "/overview", label: "Overview", icon: "overview" }] },
  {
    title: "Admit",
    entries: [
      { to: "/members", label: "Members", icon: "member" },
      { to: "/verification", label: "Verification", icon: "range" },
      { to: "/allocations", label: "Allocations", icon: "upload" },
      { to: "/change-sets", label: "Change sets", icon: "check" },
      { to: "/clubs", label: "Clubs", icon: "club" },
      { to: "/transit", label: "Transit", icon: "arrow" },
      { to: "/block-list", label: "Block list", icon: "cross" },
    ],
  },
  {
    title: "Watch",
    entries: [
      { to: "/calls", label: "Calls", icon: "call" },
      { to: "/lookup", label: "Lookup", icon: "lookup" },
      { to: "/nodes", label: "Nodes", icon: "node" },
    ],
  },
  {
    title: "Access",
    entries: [
      { to: "/connect", label: "Where to connect", icon: "plug" },
      { to: "/tokens", label: "Tokens", icon: "token" },
      { to: "/history", label: "History", icon: "history" },
    ],
  },
];

export function Shell({ session, children }: { session: Session; children: ReactNode }) {
  const [opened, { toggle, close }] = useDisclosure(false);
  const groups = session.role === "operator" ? OPERATOR : MEMBER;
  const who = session.member?.display_name ?? "Exchange operator";
  return (
    <AppShell
      layout="alt"
      navbar={{ width: 236, breakpoint: "sm", collapsed: { mobile: !opened } }}
      header={{ height: { base: 52, sm: 0 } }}
      padding={0}
    >
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <AppShell.Header hiddenFrom="sm" px="md" withBorder>
        <Group h="100%" justify="space-between">
          <Wordmark />
          <Burger opened={opened} onClick={toggle} size="sm" aria-label={opened ? "Close the menu" : "Open the menu"} />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className="rail" p="sm" withBorder={false}>
        <Group justify="space-between" px="xs" pt={4} pb="md">
          <Wordmark />
          <Burger hiddenFrom="sm" opened={opened} onClick={toggle} size="sm" aria-label="Close the menu" />
        </Group>
        <Stack component="nav" aria-label="Pages" gap="md" flex={1} style={{ overflowY: "auto" }}>
          {groups.map((group) => (
            <div key={group.title ?? "first"}>
              {group.title && <div className="rail-title">{group.title}</div>}
              {group.entries.map(({ to, label, icon }) => (
                <NavLink key={to} to={to} className="rail-link" onClick={close}>
                  <Icon name={icon} />
                  {label}
                </NavLink>
              ))}
            </div>
          ))}
        </Stack>
        <Group justify="space-between" wrap="nowrap" pt="sm" px="xs" gap={4}>
          <div style={{ minWidth: 0 }}>
            <Text size="sm" fw={550} truncate>
              {who}
            </Text>
            <Text size="xs" className="quiet" truncate title={session.user?.email}>
              {session.user?.email ?? "token"}
            </Text>
          </div>
          <Group gap={2} wrap="nowrap">
            <SchemeToggle />
            <SignOut />
          </Group>
        </Group>
      </AppShell.Navbar>
      <AppShell.Main id="content" component="main" tabIndex={-1} style={{ outline: "none" }}>
        {children}
      </AppShell.Main>
    </AppShell>
  );
}

/** Around pages that need no session, such as the page of a reason that a SIP response named. */
export function Porch({ children }: { children: ReactNode }) {
  return (
    <>
      <Group component="header" justify="space-between" px={{ base: "md", sm: 36 }} py="sm" className="porch">
        <Wordmark />
        <Group gap="md">
          <SchemeToggle />
          <Anchor component={Link} to="/sign-in" size="sm">
            Sign in
          </Anchor>
        </Group>
      </Group>
      <main>{children}</main>
    </>
  );
}

function Wordmark() {
  return (
    <Link to="/overview" className="wordmark">
      <Mark size={24} />
      Tandem
    </Link>
  );
}

function SignOut() {
  const signOut = useSignOut();
  const navigate = useNavigate();
  return (
    <Tooltip label="Sign out">
      <ActionIcon
        variant="subtle"
        color="gray"
        aria-label="Sign out"
        loading={signOut.isPending}
        onClick={() => signOut.mutate(undefined, { onSuccess: () => void navigate("/sign-in") })}
      >
        <Icon name="leave" />
      </ActionIcon>
    </Tooltip>
  );
}
