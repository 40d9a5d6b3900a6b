import { Button, Group, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Range } from "../../api/types";
import { plainNumber } from "../../format/number";
import { verifiedBy } from "../../parts/evidence";
import { Confirm } from "../../parts/Confirm";
import { Conflicts } from "../../parts/Conflicts";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { Numbers } from "../../parts/Numbers";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { AuthorityBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { ChallengeModal } from "./Challenge";

const NEXT: Record<Range["authority"], string> = {
  pending: "The operator checks the evidence, or you prove it by calls.",
  disputed: "The operator decides; withdraw the claim if the other member is right.",
  valid: "Announce prefixes in it.",
  refused: "Claim it again with better evidence.",
  expired: "Claim it again with new evidence.",
};

export function Ranges({ memberId }: { memberId: string }) {
  const [withdrawn, setWithdrawn] = useState<Range | null>(null);
  const [challenged, setChallenged] = useState<Range | null>(null);
  const [renewed, setRenewed] = useState<Range | null>(null);
  const queries = useQueryClient();
  const list = usePaged({
    key: ["ranges", memberId],
    liveMs: 10_000,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/ranges", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const withdraw = useMutation({
    mutationFn: ({ range_id }: Range) =>
      answer(api.DELETE("/api/v1/members/{member_id}/ranges/{range_id}", { params: { path: { member_id: memberId, range_id } } })),
    onSuccess: async () => {
      setWithdrawn(null);
      await queries.invalidateQueries({ queryKey: ["ranges"] });
    },
  });

  const columns: Column<Range>[] = [
    { header: "Prefix", cell: ({ prefix, numbering }) => <Numbers prefix={prefix} numbering={numbering} /> },
    {
      header: "Authority",
      cell: (range) => (
        <>
          <AuthorityBadge authority={range.authority} />
          <Text size="xs" className="quiet">
            {verifiedBy(range)}
          </Text>
        </>
      ),
    },
    {
      header: "Next",
      cell: (range) => (
        <>
          <span className="quiet">{nextOf(range)}</span>
          <Conflicts range={range} />
        </>
      ),
    },
    {
      header: "Evidence",
      cell: ({ evidence }) => (
        <Text size="sm" lineClamp={2} maw={320} title={evidence}>
          {evidence}
        </Text>
      ),
    },
    { header: "Claimed", cell: ({ created_at }) => <Time>{created_at}</Time> },
    { header: "Until", cell: ({ valid_until }) => (valid_until ? <Time>{valid_until}</Time> : <span className="quiet nowrap">further notice</span>) },
    {
      header: "Change",
      align: "end",
      cell: (range) =>
        range.authority === "refused" || range.authority === "expired" ? null : (
          <Group gap={6} justify="flex-end" wrap="nowrap">
            {canBeProven(range) && (
              <Button variant="default" size="compact-xs" onClick={() => setChallenged(range)} aria-label={`Prove ${range.prefix} by calls`}>
                Prove by calls
              </Button>
            )}
            {range.authority === "valid" && range.valid_until && (
              <Button variant="default" size="compact-xs" onClick={() => setRenewed(range)} aria-label={`Renew ${range.prefix}`}>
                Renew
              </Button>
            )}
            <Button variant="default" size="compact-xs" onClick={() => setWithdrawn(range)} aria-label={`Withdraw ${range.prefix}`}>
              Withdraw
            </Button>
          </Group>
        ),
    },
  ];

  return (
    <>
      <DataTable
        label="Ranges"
        columns={columns}
        list={list}
        rowKey={({ range_id }) => range_id}
        empty={
          <Empty title="No range yet" action={<ClaimRange memberId={memberId} variant="light" />}>
            Claim the block of numbers that you hold, such as +44 20 7946, and say how the operator can see that it is yours.
          </Empty>
        }
      />
      <ChallengeModal memberId={memberId} range={challenged} onClose={() => setChallenged(null)} />
      <Modal opened={renewed !== null} onClose={() => setRenewed(null)} title={`Renew ${renewed?.prefix ?? ""}`}>
        {renewed && <RangeForm memberId={memberId} renewed={renewed} onDone={() => setRenewed(null)} />}
      </Modal>
      <Confirm
        opened={withdrawn !== null}
        onClose={() => {
          setWithdrawn(null);
          withdraw.reset();
        }}
        title={`Withdraw ${withdrawn?.prefix ?? ""}?`}
        action="Withdraw"
        pending={withdraw.isPending}
        error={withdraw.error}
        onConfirm={() => withdrawn && withdraw.mutate(withdrawn)}
      >
        The range ends now: announcements in it are no longer routed. To have it back you claim it again.
      </Confirm>
    </>
  );
}

/** Whether calls could verify the range: a claim, or one to be renewed, of which no file says that it is another's. */
function canBeProven({ authority, renewal_requested_at, allocated_to_others }: Range): boolean {
  const waits = authority === "pending" || authority === "disputed" || (authority === "valid" && renewal_requested_at !== null);
  return waits && allocated_to_others.length === 0;
}

function nextOf({ authority, expires_soon, renewal_requested_at, evidence_gone, allocated_to_others }: Range): string {
  if (evidence_gone) return "The evidence is gone: the range stands until the operator decides. Ask the operator, or give other evidence.";
  if (renewal_requested_at) return "The operator checks the evidence for the renewal; the range stands meanwhile.";
  if (expires_soon) return "It ends soon: renew it, or announcements in it are no longer routed.";
  if (authority === "disputed" && allocated_to_others.length > 0)
    return "The operator decides. If the other name is yours, or the numbers were handed on to you, tell the operator.";
  return NEXT[authority];
}

export function ClaimRange({ memberId, variant = "filled" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Claim a range
      </Button>
      <Modal opened={opened} onClose={close} title="Claim a range">
        <RangeForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

/** Says whose numbers are verified at once. */
function KnownNames({ memberId }: { memberId: string }) {
  const { data } = useQuery({
    queryKey: ["holder-names", memberId],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/holder-names", { params: { path: { member_id: memberId } } })),
  });
  if (!data) return null;
  return (
    <Text size="sm" className="quiet">
      {data.names.length > 0
        ? `Numbers that a regulator's file gives to ${data.names.join(" or ")} are verified at once.`
        : "The operator can have numbers that a regulator's file gives to you verified at once: tell it under which name or code the file knows you."}
    </Text>
  );
}

/** Claims a range, or asks to go on holding one. */
function RangeForm({ memberId, renewed, onDone }: { memberId: string; renewed?: Range; onDone: () => void }) {
  const queries = useQueryClient();
  const form = useForm({ mode: "uncontrolled", initialValues: { prefix: "", evidence: "", until: "" } });
  const send = useMutation({
    mutationFn: ({ prefix, evidence, until }: typeof form.values) => {
      const body = { evidence: evidence.trim(), ...(until && { valid_until: `${until}T00:00:00Z` }) };
      return renewed
        ? answer(
            api.POST("/api/v1/members/{member_id}/ranges/{range_id}/renew", {
              params: { path: { member_id: memberId, range_id: renewed.range_id } },
              body,
            }),
          )
        : answer(
            api.POST("/api/v1/members/{member_id}/ranges", {
              params: { path: { member_id: memberId } },
              body: { prefix: plainNumber(prefix), ...body },
            }),
          );
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["ranges"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => send.mutate(fields))}>
      <Stack>
        {!renewed && (
          <TextInput
            label="Prefix"
            description="The digits with which all numbers of the range begin, with the country code."
            placeholder="+44 20 7946"
            required
            data-autofocus
            key={form.key("prefix")}
            {...form.getInputProps("prefix")}
          />
        )}
        {!renewed && <KnownNames memberId={memberId} />}
        <Textarea
          label="Evidence"
          description="What shows the operator that the range is yours where nothing else does: the regulator's allocation, a public register, a letter of the holder."
          placeholder="Ofcom allocation of 12 March 2021, reference …"
          minRows={3}
          key={form.key("evidence")}
          {...form.getInputProps("evidence")}
        />
        <TextInput
          type="date"
          label="Held until"
          description="The first day (UTC) on which it is no longer yours. Leave it empty where it has no end."
          key={form.key("until")}
          {...form.getInputProps("until")}
        />
        {send.error && <ProblemNote problem={problemOf(send.error)} shownFields={["prefix", "evidence"]} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={send.isPending}>
            {renewed ? "Ask to renew" : "Claim"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
