// Which calls of a member are traced, and the form by which one asks for more.
import { Badge, Button, Group, Modal, NumberInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure, useInterval } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { TraceSelection } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { plainNumber } from "../../format/number";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { E164 } from "../../parts/E164";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

const DURATIONS = [
  { value: "5", label: "5 minutes" },
  { value: "15", label: "15 minutes" },
  { value: "60", label: "an hour" },
  { value: "240", label: "4 hours" },
  { value: "1440", label: "a day" },
];

export function Traces({ memberId }: { memberId: string }) {
  const queries = useQueryClient();
  const [ended, setEnded] = useState<TraceSelection | null>(null);
  const endpoints = useEndpoints(memberId);
  const list = usePaged({
    key: ["traces", memberId],
    liveMs: LIVE_MS,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/traces", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const end = useMutation({
    mutationFn: ({ trace_selection_id }: TraceSelection) =>
      answer(
        api.DELETE("/api/v1/members/{member_id}/traces/{trace_selection_id}", {
          params: { path: { member_id: memberId, trace_selection_id } },
        }),
      ),
    onSuccess: async () => {
      setEnded(null);
      await queries.invalidateQueries({ queryKey: ["traces"] });
    },
  });
  const [now, setNow] = useState(Date.now);
  useInterval(() => setNow(Date.now()), LIVE_MS, { autoInvoke: true });
  const nameOf = (id: string) => endpoints.data?.items.find(({ endpoint_id }) => endpoint_id === id)?.name ?? id;

  const columns: Column<TraceSelection>[] = [
    { header: "Endpoint", cell: ({ endpoint_id }) => (endpoint_id ? <strong>{nameOf(endpoint_id)}</strong> : "any") },
    { header: "Number", cell: ({ prefix }) => (prefix ? <E164>{prefix}</E164> : "any") },
    { header: "Calls", align: "end", cell: ({ calls, max_calls }) => <span className="figures">{`${calls} of ${max_calls}`}</span> },
    { header: "Made", cell: ({ created_at }) => <Time>{created_at}</Time> },
    { header: "Until", cell: ({ until }) => <Time>{until}</Time> },
    { header: "State", cell: (trace) => <TraceState trace={trace} now={now} /> },
    {
      header: "Change",
      align: "end",
      cell: (trace) =>
        isOver(trace, now) ? null : (
          <Button variant="default" size="compact-xs" onClick={() => setEnded(trace)}>
            End
          </Button>
        ),
    },
  ];
  return (
    <>
      <DataTable
        label="Traces"
        columns={columns}
        list={list}
        rowKey={({ trace_selection_id }) => trace_selection_id}
        empty={
          <Empty title="No trace yet" action={<TraceCalls memberId={memberId} />}>
            Choose an endpoint or a number, and the messages of its next calls are kept for you to read.
          </Empty>
        }
      />
      <Confirm
        opened={ended !== null}
        onClose={() => {
          setEnded(null);
          end.reset();
        }}
        title="End the trace?"
        action="End"
        pending={end.isPending}
        error={end.error}
        onConfirm={() => ended && end.mutate(ended)}
      >
        No further call is traced for it. What was traced stays for some days.
      </Confirm>
    </>
  );
}

function isOver({ until }: TraceSelection, now: number): boolean {
  return Date.parse(until) <= now;
}

function TraceState({ trace, now }: { trace: TraceSelection; now: number }) {
  if (isOver(trace, now)) return <Badge color="gray">ended</Badge>;
  if (trace.calls >= trace.max_calls) return <Badge color="copper">has its calls</Badge>;
  return <Badge color="petrol">waiting for calls</Badge>;
}

function useEndpoints(memberId: string) {
  return useQuery({
    queryKey: ["endpoints", memberId, "choice"],
    queryFn: () =>
      answer(
        api.GET("/api/v1/members/{member_id}/endpoints", { params: { path: { member_id: memberId }, query: { limit: 500 } } }),
      ),
  });
}

/** The button that opens the form; `prefix` is what is suggested for the number. */
export function TraceCalls({ memberId, prefix = "" }: { memberId: string; prefix?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant="default" onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Trace calls
      </Button>
      <Modal opened={opened} onClose={close} title="Trace calls" closeOnClickOutside={false}>
        <TraceForm memberId={memberId} prefix={prefix} onDone={close} />
      </Modal>
    </>
  );
}

function TraceForm({ memberId, prefix, onDone }: { memberId: string; prefix: string; onDone: () => void }) {
  const queries = useQueryClient();
  const endpoints = useEndpoints(memberId);
  const form = useForm({ initialValues: { endpoint_id: "", prefix: plainNumber(prefix), minutes: "15", max_calls: 20 } });
  const make = useMutation({
    mutationFn: (fields: typeof form.values) =>
      answer(
        api.POST("/api/v1/members/{member_id}/traces", {
          params: { path: { member_id: memberId } },
          body: {
            endpoint_id: fields.endpoint_id || null,
            prefix: plainNumber(fields.prefix) || null,
            minutes: Number(fields.minutes),
            max_calls: fields.max_calls,
          },
        }),
      ),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["traces"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
      <Stack>
        <Text size="sm">The messages of calls that begin from now on are kept, without their secrets. Every call then has them on its page.</Text>
        <Select
          label="Endpoint"
          data={[
            { value: "", label: "any endpoint" },
            ...(endpoints.data?.items.map(({ endpoint_id, name }) => ({ value: endpoint_id, label: name })) ?? []),
          ]}
          {...form.getInputProps("endpoint_id")}
        />
        <TextInput
          label="Number begins with"
          description="Of the caller or of the called. Empty: any number."
          placeholder="+44 20"
          {...form.getInputProps("prefix")}
        />
        <Select label="For" data={DURATIONS} allowDeselect={false} {...form.getInputProps("minutes")} />
        <NumberInput label="Most calls" min={1} max={1000} allowDecimal={false} {...form.getInputProps("max_calls")} />
        {make.error && <ProblemNote problem={problemOf(make.error)} shownFields={["endpoint_id", "prefix", "minutes", "max_calls"]} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Trace
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
