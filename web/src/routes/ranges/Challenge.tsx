import { Button, Group, List, Loader, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { ChallengeCall, Challenges, Range } from "../../api/types";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";

const OUTCOMES: Record<NonNullable<ChallengeCall["outcome"]>, string> = {
  rang: "it rang, and the exchange ended it",
  answered: "it was answered, and the exchange ended it",
  refused: "it was refused",
  unanswered: "nobody answered it",
  unplaced: "the exchange could not place it",
};

/** The exchange calls numbers of a range, and the member says which code it saw. */
export function ChallengeModal({ memberId, range, onClose }: { memberId: string; range: Range | null; onClose: () => void }) {
  return (
    <Modal opened={range !== null} onClose={onClose} title={`Prove ${range?.prefix ?? ""} by calls`}>
      {range && <ChallengeSteps memberId={memberId} rangeId={range.range_id} onClose={onClose} />}
    </Modal>
  );
}

function ChallengeSteps({ memberId, rangeId, onClose }: { memberId: string; rangeId: string; onClose: () => void }) {
  const queries = useQueryClient();
  const [code, setCode] = useState("");
  const params = { path: { member_id: memberId, range_id: rangeId } };
  const key = ["challenge", rangeId];
  const { data, error } = useQuery({
    queryKey: key,
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/ranges/{range_id}/challenge", { params })),
    refetchInterval: 2_000,
  });
  const show = async (challenges: Challenges) => {
    queries.setQueryData(key, challenges);
    await queries.invalidateQueries({ queryKey: ["ranges"] });
  };
  const call = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/members/{member_id}/ranges/{range_id}/challenge", { params })),
    onSuccess: show,
  });
  const say = useMutation({
    mutationFn: () => answer(api.POST("/api/v1/members/{member_id}/ranges/{range_id}/challenge/answer", { params, body: { code } })),
    onSuccess: async (challenges) => {
      setCode("");
      await show(challenges);
    },
    onError: () => queries.invalidateQueries({ queryKey: key }),
  });
  if (!data) return error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />;
  if (data.range.verified_by === "challenge" && data.range.authority === "valid" && !data.range.renewal_requested_at) {
    return (
      <Stack>
        <Text>The range is verified. Announcements in it are routed.</Text>
        <Group justify="flex-end">
          <Button onClick={onClose}>Done</Button>
        </Group>
      </Stack>
    );
  }
  const last = data.calls[0];
  const waits = last && !last.solved_at && last.tries_left > 0 && new Date(last.ends_at) > new Date();
  return (
    <Stack>
      <Text size="sm">
        The exchange calls a number of the range, chosen by chance, through another carrier. The last six digits of the calling number are a
        code. Let the call ring or take it, and write the code here within ten minutes.{" "}
        {data.needed > 1 ? `${data.needed} different numbers prove the range` : "One call proves the number"}; {data.solved} of {data.needed}{" "}
        {data.needed > 1 ? "are" : "is"} proven.
      </Text>
      {data.calls.length > 0 && (
        <List size="sm" aria-label="Calls of the last 24 hours">
          {data.calls.map((one) => (
            <List.Item key={one.challenge_id}>
              <span className="mono">{one.called}</span>, <Time>{one.created_at}</Time>: {stateOf(one)}
            </List.Item>
          ))}
        </List>
      )}
      {waits && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            say.mutate();
          }}
        >
          <Group align="flex-end">
            <TextInput
              label={`Code of the call to ${last.called}`}
              description={`The last six digits of who called; ${last.tries_left} ${last.tries_left === 1 ? "try is" : "tries are"} left.`}
              inputMode="numeric"
              maxLength={6}
              required
              data-autofocus
              value={code}
              onChange={(event) => setCode(event.currentTarget.value)}
            />
            <Button type="submit" loading={say.isPending}>
              Say the code
            </Button>
          </Group>
        </form>
      )}
      {say.error && <ProblemNote problem={problemOf(say.error)} />}
      {call.error && <ProblemNote problem={problemOf(call.error)} />}
      <Group justify="space-between">
        <Text size="xs" className="quiet">
          {data.calls_left === 1 ? "One call is" : `${data.calls_left} calls are`} left for today.
        </Text>
        <Group>
          <Button variant="default" onClick={onClose}>
            Close
          </Button>
          <Button variant={waits ? "default" : "filled"} loading={call.isPending} disabled={data.calls_left === 0} onClick={() => call.mutate()}>
            {data.calls.length > 0 ? "Call another number" : "Call a number"}
          </Button>
        </Group>
      </Group>
    </Stack>
  );
}

function stateOf(call: ChallengeCall): string {
  if (call.solved_at) return "proven";
  if (call.tries_left === 0) return "not proven, the code was wrong three times";
  return call.outcome ? OUTCOMES[call.outcome] : "the exchange calls now";
}
