import { Button, Checkbox, Group, Modal, ScrollArea, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Announcement } from "../../api/types";
import { plainNumber } from "../../format/number";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS, limitFields, limitsOf } from "../../parts/limits";
import { ProblemNote } from "../../parts/ProblemNote";

export function Announce({ memberId, variant = "filled" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Announce a prefix
      </Button>
      <Modal opened={opened} onClose={close} title="Announce a prefix">
        <AnnounceForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

type Props = { memberId: string; announcement?: Announcement; onDone: () => void };

export function AnnounceForm({ memberId, announcement, onDone }: Props) {
  const queries = useQueryClient();
  const endpoints = useQuery({
    queryKey: ["endpoints", memberId, "choice"],
    queryFn: () =>
      answer(
        api.GET("/api/v1/members/{member_id}/endpoints", { params: { path: { member_id: memberId }, query: { limit: 500 } } }),
      ),
  });
  const form = useForm({
    initialValues: {
      prefix: announcement?.prefix ?? "",
      endpoints: announcement?.endpoints.map(({ name }) => name) ?? [],
      tags: announcement?.tags ?? [],
      ...limitFields(announcement),
    },
  });
  const save = useMutation({
    mutationFn: (fields: typeof form.values) => {
      const body = { prefix: plainNumber(fields.prefix), endpoints: fields.endpoints, tags: fields.tags, ...limitsOf(fields) };
      const path = { member_id: memberId };
      return announcement
        ? answer(
            api.PUT("/api/v1/members/{member_id}/announcements/{announcement_id}", {
              params: { path: { ...path, announcement_id: announcement.announcement_id } },
              // What the form does not show stays as it is.
              body: { ...body, valid_from: announcement.valid_from, valid_until: announcement.valid_until },
            }),
          )
        : answer(api.POST("/api/v1/members/{member_id}/announcements", { params: { path }, body }));
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["announcements", memberId] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => save.mutate(fields))}>
      <Stack>
        <TextInput
          label="Prefix"
          description="All numbers that begin with these digits, with the country code."
          placeholder="+44 20 7946"
          required
          disabled={announcement !== undefined}
          data-autofocus
          {...form.getInputProps("prefix")}
        />
        <Checkbox.Group
          label="Endpoints"
          description="They take the calls, in the order of their priority."
          required
          {...form.getInputProps("endpoints")}
        >
          <ScrollArea.Autosize mah={240} mt="xs">
            <Stack gap={6}>
              {endpoints.data?.items.map(({ name, target, enabled }) => (
                <Checkbox key={name} value={name} label={name} description={enabled ? target : `${target}, disabled`} />
              ))}
            </Stack>
          </ScrollArea.Autosize>
        </Checkbox.Group>
        {endpoints.data?.items.length === 0 && (
          <Text size="sm" c="copper">
            You have no endpoint yet. Add one first.
          </Text>
        )}
        <LimitInputs form={form} />
        <TagsInput
          label="Tags"
          description="What you promise of the route, such as cli-guaranteed or no-transit. Agreements may demand it."
          {...form.getInputProps("tags")}
        />
        {save.error && (
          <ProblemNote problem={problemOf(save.error)} shownFields={["prefix", "endpoints", "tags", ...LIMIT_FIELDS]} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            {announcement ? "Save" : "Announce"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
