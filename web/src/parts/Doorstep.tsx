// The two halves of a page before the session: what the exchange is, and the form.
import { Group, Stack, Text, Title } from "@mantine/core";
import { useEffect, type ReactNode } from "react";

import { SchemeToggle } from "./SchemeToggle";
import { Mark } from "./Mark";

export function Doorstep({ title, lead, children }: { title: string; lead: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Tandem`;
  }, [title]);
  return (
    <div className="doorstep">
      <aside className="doorstep-side">
        <Group gap="sm">
          <Mark size={30} />
          <Text fw={600} size="lg">
            Tandem
          </Text>
        </Group>
        <Picture />
        <div>
          <Text size="1.45rem" fw={500} lh={1.3} style={{ letterSpacing: "-0.015em", textWrap: "balance" }}>
            Connect your voice network once. Reach every member you agree with.
          </Text>
          <Text size="sm" mt="sm" opacity={0.8}>
            Announce the numbers you hold, agree with other providers, and see for every call why it went where it went.
          </Text>
        </div>
      </aside>
      <main className="doorstep-main">
        <Stack w="100%" maw={440} gap="lg">
          <div>
            <Group justify="space-between" align="center">
              <Title order={1} size="1.6rem">
                {title}
              </Title>
              <SchemeToggle />
            </Group>
            <Text className="quiet" size="sm" mt={4}>
              {lead}
            </Text>
          </div>
          {children}
        </Stack>
      </main>
    </div>
  );
}

/** Lines of eight members that cross in one exchange. */
function Picture() {
  const ends = [40, 90, 140, 190];
  return (
    <svg className="doorstep-picture" viewBox="0 0 420 230" fill="none" aria-hidden="true" style={{ width: "100%", maxWidth: 460 }}>
      {ends.map((from, row) => (
        <g key={from} strokeWidth="1.5" strokeLinecap="round">
          <path d={`M14 ${from}h70c60 0 66 ${115 - from} 126 ${115 - from}`} stroke="#5fa9ab" />
          <path d={`M210 115c60 0 66 ${from - 115} 126 ${from - 115}h70`} stroke={row === 1 ? "#e6ab74" : "#5fa9ab"} />
          <circle cx="14" cy={from} r="4" fill={row === 2 ? "#e6ab74" : "#5fa9ab"} />
          <circle cx="406" cy={from} r="4" fill={row === 1 ? "#e6ab74" : "#5fa9ab"} />
        </g>
      ))}
      <path d="M14 140h70c60 0 66 -25 126 -25" stroke="#e6ab74" strokeWidth="2.2" />
      <path d="M210 115c60 0 66 -25 126 -25h70" stroke="#e6ab74" strokeWidth="2.2" />
      <circle cx="210" cy="115" r="13" fill="#063b40" stroke="#e6f1f0" strokeWidth="2" />
      <circle cx="210" cy="115" r="4" fill="#e6ab74" />
    </svg>
  );
}
