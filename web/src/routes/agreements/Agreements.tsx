import { Button, Group, Menu, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Agreement } from "../../api/types";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { usePaged } from "../../parts/paged";
import { AgreementBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { ShowRates } from "../transit/Rates";
import { History } from "./History";
import { DIRECTIONS, standpoint } from "./standpoint";
import { termsText } from "./terms";
import { Counter, Propose } from "./TermsForm";

type Reply = "accept" | "refuse" | "suspend" | "resume";

export function Agreements({ memberId }: { memberId: string }) {
  const [ended, setEnded] = useState<Agreement | null>(null);
  const [countered, setCountered] = useState<Agreement | null>(null);
  const [shown, setShown] = useState<Agreement | null>(null);
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
    mutationFn: ({ agreement_id, does }: { agreement_id: string; does: Reply }) => {
      const params = { path: { member_id: memberId, agreement_id } };
      switch (does) {
        case "accept":
          return answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/accept", { params }));
        case "refuse":
          return answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/refuse", { params }));
        case "suspend":
          return answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/suspend", { params }));
        case "resume":
          return answer(api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/resume", { params }));
      }
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
        const { waitsFor, heldUpBy } = standpoint(agreement, memberId);
        return (
          <Group gap={8}>
            <AgreementBadge state={agreement.state} />
            <Text size="xs" c="copper">
              {waitsFor && `${waitsFor} must answer`}
              {heldUpBy && `by ${heldUpBy}`}
              {agreement.state === "ending" && agreement.valid_until && (
                <>
                  until <Time>{agreement.valid_until}</Time>
                </>
              )}
            </Text>
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
    {
      header: "Terms",
      cell: (agreement) => (
        <Stack gap={0}>
          {termsText(agreement, agreement.proposing_member.display_name, agreement.accepting_member.display_name).map((line) => (
            <span key={line}>{line}</span>
          ))}
          {agreement.transit.rate_deck_id && (
            <span>
              transit is paid by{" "}
              <ShowRates
                reader={memberId}
                deckId={agreement.transit.rate_deck_id}
                title="What transit costs a minute"
                label={`Rates of the agreement with ${standpoint(agreement, memberId).other.name}`}
              />
            </span>
          )}
        </Stack>
      ),
    },
    { header: "Since", cell: ({ valid_from, proposed_at }) => <Time>{valid_from ?? proposed_at}</Time> },
    {
      header: "Change",
      align: "end",
      cell: (agreement) => {
        const { other, acts } = standpoint(agreement, memberId);
        const answering = reply.isPending && reply.variables.agreement_id === agreement.agreement_id;
        const does = (does: Reply) => () => reply.mutate({ agreement_id: agreement.agreement_id, does });
        return (
          <Group gap={6} justify="flex-end" wrap="nowrap">
            {agreement.may_answer && (
              <>
                <Button
                  size="compact-xs"
                  loading={answering}
                  onClick={does("accept")}
                  aria-label={`Accept the proposal of ${other.name}`}
                >
                  Accept
                </Button>
                <Button
                  size="compact-xs"
                  variant="default"
                  disabled={answering}
                  onClick={does("refuse")}
                  aria-label={`Refuse the proposal of ${other.name}`}
                >
                  Refuse
                </Button>
              </>
            )}
            <Menu position="bottom-end">
              <Menu.Target>
                <Button variant="default" size="compact-xs" aria-label={`More about the agreement with ${other.name}`}>
                  More
                </Button>
              </Menu.Target>
              <Menu.Dropdown>
                {agreement.may_answer && <Menu.Item onClick={() => setCountered(agreement)}>Offer other terms</Menu.Item>}
                {acts.includes("suspend") && <Menu.Item onClick={does("suspend")}>Suspend</Menu.Item>}
                {acts.includes("resume") && <Menu.Item onClick={does("resume")}>Resume</Menu.Item>}
                <Menu.Item onClick={() => setShown(agreement)}>History</Menu.Item>
                {acts.includes("take back") && <Menu.Item onClick={() => setEnded(agreement)}>Take back</Menu.Item>}
                {acts.includes("end") && (
                  <Menu.Item color="red" onClick={() => setEnded(agreement)}>
                    End
                  </Menu.Item>
                )}
              </Menu.Dropdown>
            </Menu>
          </Group>
        );
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
      {countered && <Counter agreement={countered} memberId={memberId} onDone={() => setCountered(null)} />}
      {shown && <History agreement={shown} memberId={memberId} onDone={() => setShown(null)} />}
      <Confirm
        opened={ended !== null}
        onClose={() => {
          setEnded(null);
          end.reset();
        }}
        title={ended && isOffer(ended) ? "Take the offer back?" : "End the agreement?"}
        action={ended && isOffer(ended) ? "Take back" : "End"}
        pending={end.isPending}
        error={end.error}
        onConfirm={() => ended && end.mutate(ended)}
      >
        {ended && whatEndingDoes(ended, standpoint(ended, memberId).other.display_name)}
      </Confirm>
    </>
  );
}

function isOffer({ state }: Agreement): boolean {
  return state === "proposed" || state === "countered";
}

function whatEndingDoes(agreement: Agreement, other: string): string {
  const { state, notice_days } = agreement;
  if (isOffer(agreement)) return `${other} can no longer accept it.`;
  if (state === "accepted" && notice_days > 0) {
    const days = notice_days === 1 ? "1 day" : `${notice_days} days`;
    return `Calls between you and ${other} cross for ${days} more, and are refused then, in both directions. This cannot be taken back.`;
  }
  return `New calls between you and ${other} are refused from now on, in both directions. Calls that are up go on.`;
}
