import { Button, Group, Modal, Radio, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Agreement, ProposedDirection } from "../../api/types";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS, type LimitFields, limitFields, limitsOf, limitsText } from "../../parts/limits";
import { useMembers } from "../../parts/members";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { AgreementBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { type AdvanceFields, advanceOf, advanceText, numbersFault } from "./advance";
import { DIRECTIONS, standpoint } from "./standpoint";

export function Agreements({ memberId }: { memberId: string }) {
  const [ended, setEnded] = useState<Agreement | null>(null);
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: ["agreements"] });
  const list = usePaged({
    key: ["agreements", memberId],
    liveMs: 10_000,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/agreements", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const reply = useMutation({
    mutationFn: ({ agreement_id, accept }: { agreement_id: string; accept: boolean }) => {
      const params = { path: { member_id: memberId, agreement_id } };
      return accept
        ? answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/accept", { params }))
        : answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/refuse", { params }));
    },
    onSuccess: refresh,
    onError: (thrown) => {
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  });
  const end = useMutation({
    mutationFn: ({ agreement_id }: Agreement) =>
      answer(
        api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/end", {
          params: { path: { member_id: memberId, agreement_id } },
        }),
      ),
    onSuccess: async () => {
      setEnded(null);
      await refresh();
    },
  });

  const columns: Column<Agreement>[] = [
    {
      header: "With",
      cell: (agreement) => {
        const { other } = standpoint(agreement, memberId);
        return (
          <>
            <strong>{other.display_name}</strong> <span className="quiet">{other.name}</span>
          </>
        );
      },
    },
    { header: "Who may call", cell: (agreement) => DIRECTIONS[standpoint(agreement, memberId).direction] },
    {
      header: "State",
      cell: (agreement) => {
        const { waitsFor } = standpoint(agreement, memberId);
        return (
          <Group gap={8}>
            <AgreementBadge state={agreement.state} />
            {waitsFor && (
              <Text size="xs" c="copper">
                {waitsFor} must answer
              </Text>
            )}
          </Group>
        );
      },
    },
    {
      header: "Note",
      cell: ({ note }) => (
        <Text size="sm" lineClamp={2} maw={300} title={note}>
          {note}
        </Text>
      ),
    },
    { header: "Limits", cell: (agreement) => limitsText(agreement) },
    { header: "Goes on", cell: ({ advance_on }) => advanceText(advance_on) },
    { header: "Since", cell: ({ valid_from, proposed_at }) => <Time>{valid_from ?? proposed_at}</Time> },
    {
      header: "Change",
      align: "end",
      cell: (agreement) => {
        const { name } = standpoint(agreement, memberId).other;
        const answering = reply.isPending && reply.variables.agreement_id === agreement.agreement_id;
        if (agreement.may_answer) {
          return (
            <Group gap={6} justify="flex-end" wrap="nowrap">
              <Button
                size="compact-xs"
                loading={answering}
                onClick={() => reply.mutate({ agreement_id: agreement.agreement_id, accept: true })}
                aria-label={`Accept the proposal of ${name}`}
              >
                Accept
              </Button>
              <Button
                size="compact-xs"
                variant="default"
                disabled={answering}
                onClick={() => reply.mutate({ agreement_id: agreement.agreement_id, accept: false })}
                aria-label={`Refuse the proposal of ${name}`}
              >
                Refuse
              </Button>
            </Group>
          );
        }
        if (agreement.state === "accepted" || agreement.state === "proposed") {
          const verb = agreement.state === "accepted" ? "End" : "Take back";
          return (
            <Button size="compact-xs" variant="default" onClick={() => setEnded(agreement)} aria-label={`${verb}: ${name}`}>
              {verb}
            </Button>
          );
        }
        return null;
      },
    },
  ];

  return (
    <>
      <DataTable
        label="Agreements"
        columns={columns}
        list={list}
        rowKey={({ agreement_id }) => agreement_id}
        empty={
          <Empty title="No agreement yet" action={<Propose memberId={memberId} variant="light" />}>
            Choose a member and propose who may call whom. When it accepts, calls cross at once.
          </Empty>
        }
      />
      <Confirm
        opened={ended !== null}
        onClose={() => {
          setEnded(null);
          end.reset();
        }}
        title={ended?.state === "proposed" ? "Take the proposal back?" : "End the agreement?"}
        action={ended?.state === "proposed" ? "Take back" : "End"}
        pending={end.isPending}
        error={end.error}
        onConfirm={() => ended && end.mutate(ended)}
      >
        {ended && (
          <>
            {ended.state === "proposed"
              ? `${standpoint(ended, memberId).other.display_name} can no longer accept it.`
              : `New calls between you and ${standpoint(ended, memberId).other.display_name} are refused from now on, in both directions. Calls that are up go on.`}
          </>
        )}
      </Confirm>
    </>
  );
}

export function Propose({ memberId, variant = "filled" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Propose an agreement
      </Button>
      <Modal opened={opened} onClose={close} title="Propose an agreement">
        <ProposeForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function ProposeForm({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const members = useMembers();
  const form = useForm<{ with: string; direction: ProposedDirection; note: string } & LimitFields & AdvanceFields>({
    initialValues: { with: "", direction: "both", note: "", ...limitFields(undefined), statuses: "", causes: "" },
    validate: { statuses: numbersFault, causes: numbersFault },
  });
  const propose = useMutation({
    mutationFn: ({ statuses, causes, ...fields }: typeof form.values) => {
      const body = { ...fields, ...limitsOf(fields), advance_on: advanceOf({ statuses, causes }) };
      return answer(api.POST("/api/v1/members/{member_id}/agreements", { params: { path: { member_id: memberId } }, body }));
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["agreements"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  const others = members.data?.filter(({ member_id, state }) => member_id !== memberId && state === "approved") ?? [];
  return (
    <form onSubmit={form.onSubmit((fields) => propose.mutate(fields))}>
      <Stack>
        <Select
          label="With"
          placeholder="Choose a member"
          searchable
          required
          data={others.map(({ name, display_name }) => ({ value: name, label: `${display_name} (${name})` }))}
          nothingFoundMessage={others.length === 0 ? "No other member is approved yet" : "No member of that name"}
          {...form.getInputProps("with")}
        />
        <Radio.Group label="Who may call" {...form.getInputProps("direction")}>
          <Stack gap={6} mt={6}>
            <Radio value="both" label="Each may call the other" />
            <Radio value="outgoing" label="You may call them" />
            <Radio value="incoming" label="They may call you" />
          </Stack>
        </Radio.Group>
        <Textarea label="Note" description="What the other member should know. Optional." {...form.getInputProps("note")} />
        <LimitInputs form={form} />
        <Group grow align="flex-start" gap="sm">
          <TextInput
            label="Try the next endpoint after"
            description="SIP statuses, such as 486, 503. Both empty: as usual"
            {...form.getInputProps("statuses")}
          />
          <TextInput label="Or after" description="Q.850 causes, such as 34" {...form.getInputProps("causes")} />
        </Group>
        {propose.error && (
          <ProblemNote problem={problemOf(propose.error)} shownFields={["with", "direction", "note", ...LIMIT_FIELDS]} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={propose.isPending}>
            Propose
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
