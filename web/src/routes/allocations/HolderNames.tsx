import { Button, Group, Select, Stack, Textarea } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import { useMembers } from "../../parts/members";
import { ProblemNote } from "../../parts/ProblemNote";

/** The operator says under which names the files know a member. */
export function HolderNames() {
  const [memberId, setMemberId] = useState<string | null>(null);
  const { data: members = [] } = useMembers();
  const params = { path: { member_id: memberId ?? "" } };
  const { data, error } = useQuery({
    queryKey: ["holder-names", memberId],
    queryFn: () => answer(api.GET("/api/v1/members/{member_id}/holder-names", { params })),
    enabled: memberId !== null,
  });
  return (
    <Stack maw={520}>
      <Select
        label="Member"
        placeholder="Choose a member"
        searchable
        value={memberId}
        onChange={setMemberId}
        data={members.map(({ member_id, display_name, name }) => ({ value: member_id, label: `${display_name} (${name})` }))}
      />
      {error && <ProblemNote problem={problemOf(error)} />}
      {memberId && data && <NamesForm key={`${memberId} ${data.names.join()}`} memberId={memberId} names={data.names} />}
    </Stack>
  );
}

function NamesForm({ memberId, names }: { memberId: string; names: string[] }) {
  const [text, setText] = useState(names.join("\n"));
  const queries = useQueryClient();
  const save = useMutation({
    mutationFn: (lines: string[]) =>
      answer(api.PUT("/api/v1/members/{member_id}/holder-names", { params: { path: { member_id: memberId } }, body: { names: lines } })),
    onSuccess: async () => {
      notifications.show({ message: "The names are saved; claims that they prove are verified." });
      await queries.invalidateQueries();
    },
  });
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return (
    <>
      <Textarea
        label="Names or codes"
        description="One a line, as they stand in the column holder."
        placeholder="Acme Telecom Ltd"
        autosize
        minRows={2}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      {save.error && <ProblemNote problem={problemOf(save.error)} />}
      <Group>
        <Button loading={save.isPending} onClick={() => save.mutate(lines)}>
          Save the names
        </Button>
      </Group>
    </>
  );
}
