import { Badge, Button, Group, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Club, MemberRef } from "../../api/types";
import { type Column, DataTable, Empty } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS, limitFields, limitsOf, limitsText } from "../../parts/limits";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { hoursText } from "../agreements/hours";
import { transitText } from "../agreements/terms";
import type { Owner } from "../transit/decks";
import { ShowRates } from "../transit/Rates";

const clubColumns = (reader: Owner): Column<Club>[] => [
  {
    header: "Club",
    cell: ({ name, display_name, note }) => (
      <Stack gap={0}>
        <span>
          <strong>{display_name}</strong> <span className="quiet">{name}</span>
        </span>
        <Text size="sm" lineClamp={2} maw={300} title={note}>
          {note}
        </Text>
      </Stack>
    ),
  },
  {
    header: "Terms",
    cell: (club) => (
      <Stack gap={0}>
        {[
          limitsText(club),
          club.hours && hoursText(club.hours),
          club.demand && `demands ${club.demand}`,
          club.sites.length > 0 && `first at ${club.sites.join(", ")}`,
          ...transitText(club.transit),
        ]
          .filter(Boolean)
          .map((line) => (
            <span key={String(line)}>{line}</span>
          ))}
        {club.transit.rate_deck_id && (
          <span>
            transit is paid by{" "}
            <ShowRates
              reader={reader}
              deckId={club.transit.rate_deck_id}
              title={`What transit costs a minute in ${club.display_name}`}
              label={`Rates of ${club.name}`}
            />
          </span>
        )}
      </Stack>
    ),
  },
];

/** Shows why an act failed, and the club anew where it did not. */
function useActs() {
  const queries = useQueryClient();
  return {
    onSuccess: () => queries.invalidateQueries({ queryKey: ["clubs"] }),
    onError: (thrown: unknown) => {
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  };
}

export function MemberClubs({ memberId }: { memberId: string }) {
  const list = usePaged({
    key: ["clubs", memberId],
    liveMs: 10_000,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/clubs", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const act = useMutation({
    mutationFn: ({ club_id, joins }: { club_id: string; joins: boolean }) => {
      const params = { path: { member_id: memberId, club_id } };
      return joins
        ? answer(api.POST("/api/v1/members/{member_id}/clubs/{club_id}/join", { params }))
        : answer(api.POST("/api/v1/members/{member_id}/clubs/{club_id}/leave", { params }));
    },
    ...useActs(),
  });
  const columns: Column<Club>[] = [
    ...clubColumns(memberId),
    { header: "Joined by", cell: ({ members }) => members.map(({ display_name }) => display_name).join(", ") },
    {
      header: "Change",
      align: "end",
      cell: ({ club_id, name, members, expelled }) => {
        if (expelled.length > 0) return <Badge color="red">expelled</Badge>;
        const hasJoined = members.some(({ member_id }) => member_id === memberId);
        return (
          <Button
            size="compact-xs"
            variant={hasJoined ? "default" : "filled"}
            loading={act.isPending && act.variables.club_id === club_id}
            onClick={() => act.mutate({ club_id, joins: !hasJoined })}
            aria-label={`${hasJoined ? "Leave" : "Join"} ${name}`}
          >
            {hasJoined ? "Leave" : "Join"}
          </Button>
        );
      },
    },
  ];
  return (
    <DataTable
      label="Clubs"
      columns={columns}
      list={list}
      rowKey={({ club_id }) => club_id}
      empty={<Empty title="No club yet">The operator of the exchange makes clubs. Until then, agree with members one by one.</Empty>}
    />
  );
}

export function ExchangeClubs() {
  const list = usePaged({
    key: ["clubs", "all"],
    liveMs: 10_000,
    fetch: (cursor) => answer(api.GET("/api/v1/clubs", { params: { query: { ...(cursor && { cursor }) } } })),
  });
  const act = useMutation({
    mutationFn: ({ club_id, member, expels }: { club_id: string; member: string; expels: boolean }) => {
      const options = { params: { path: { club_id } }, body: { member } };
      return expels
        ? answer(api.POST("/api/v1/clubs/{club_id}/expel", options))
        : answer(api.POST("/api/v1/clubs/{club_id}/readmit", options));
    },
    ...useActs(),
  });
  const people = ({ club_id }: Club, members: MemberRef[], expels: boolean) => (
    <Stack gap={4}>
      {members.map(({ member_id, name, display_name }) => (
        <Group key={member_id} gap={8}>
          {display_name}
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => act.mutate({ club_id, member: name, expels })}
            aria-label={`${expels ? "Expel" : "Readmit"} ${name}`}
          >
            {expels ? "Expel" : "Readmit"}
          </Button>
        </Group>
      ))}
    </Stack>
  );
  const columns: Column<Club>[] = [
    ...clubColumns(null),
    { header: "Joined by", cell: (club) => people(club, club.members, true) },
    { header: "Expelled", cell: (club) => people(club, club.expelled, false) },
  ];
  return (
    <DataTable
      label="Clubs"
      columns={columns}
      list={list}
      rowKey={({ club_id }) => club_id}
      empty={<Empty title="No club yet">Make one: members join it once, and reach all that have.</Empty>}
    />
  );
}

export function MakeClub() {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Make a club
      </Button>
      <Modal opened={opened} onClose={close} title="Make a club">
        <ClubForm onDone={close} />
      </Modal>
    </>
  );
}

function ClubForm({ onDone }: { onDone: () => void }) {
  const queries = useQueryClient();
  const form = useForm({
    initialValues: { name: "", display_name: "", note: "", demand: "", ...limitFields(undefined) },
  });
  const make = useMutation({
    mutationFn: ({ demand, ...fields }: typeof form.values) =>
      answer(api.POST("/api/v1/clubs", { body: { ...fields, ...limitsOf(fields), demand: demand.trim() === "" ? null : demand } })),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["clubs"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
      <Stack>
        <TextInput label="Name of the club" placeholder="Free peering" required data-autofocus {...form.getInputProps("display_name")} />
        <TextInput
          label="Short name"
          description="Lower-case letters, digits and hyphens. It cannot change later."
          placeholder="free-peering"
          required
          {...form.getInputProps("name")}
        />
        <Textarea label="Note" description="What it is for. Optional." {...form.getInputProps("note")} />
        <LimitInputs form={form} />
        <TextInput
          label="Demanded tags"
          description="Of announcements, such as cli-guaranteed and (no-transit or premium). Empty: none"
          {...form.getInputProps("demand")}
        />
        {make.error && (
          <ProblemNote problem={problemOf(make.error)} shownFields={["name", "display_name", "note", "demand", ...LIMIT_FIELDS]} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Make
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
