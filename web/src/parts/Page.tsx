// The frame of every page: its name, a sentence on what it is for, what can be done.
import { Group, Stack, Text, Title } from "@mantine/core";
import { useEffect, type ReactNode } from "react";

type PageProps = { title: string; lead?: ReactNode; actions?: ReactNode; children: ReactNode };

export function Page({ title, lead, actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Tandem`;
  }, [title]);
  return (
    <Stack gap="xl" px={{ base: "md", sm: 36 }} py={{ base: "lg", sm: 30 }} maw={1320}>
      <Group justify="space-between" align="flex-start" gap="md">
        <div style={{ maxWidth: "46rem", flex: "1 1 18rem" }}>
          <Title order={1} size="1.5rem" style={{ letterSpacing: "-0.015em" }}>
            {title}
          </Title>
          {lead && (
            <Text className="quiet" size="sm" mt={4}>
              {lead}
            </Text>
          )}
        </div>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}

type SectionProps = { title: string; lead?: ReactNode; actions?: ReactNode; children: ReactNode };

export function Section({ title, lead, actions, children }: SectionProps) {
  return (
    <section aria-label={title}>
      <Group justify="space-between" align="flex-end" mb="sm" gap="sm">
        <div style={{ maxWidth: "46rem" }}>
          <Title order={2} size="1.05rem">
            {title}
          </Title>
          {lead && (
            <Text className="quiet" size="sm">
              {lead}
            </Text>
          )}
        </div>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </section>
  );
}
