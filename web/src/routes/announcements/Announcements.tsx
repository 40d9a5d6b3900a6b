import { Anchor, Button, Group, Modal, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";

import { answer, api } from "../../api/client";
import type { Announcement } from "../../api/types";
import { LIVE_MS } from "../../app/queries";
import { plainNumber } from "../../format/number";
import { Confirm } from "../../parts/Confirm";
import { DataTable, Empty, type Column } from "../../parts/DataTable";
import { Numbers } from "../../parts/Numbers";
import { usePaged } from "../../parts/paged";
import { useReason } from "../../parts/reasons";
import { AnnouncedBadge, RoutableBadge } from "../../parts/State";
import { Time } from "../../parts/Time";
import { Announce, AnnounceForm } from "./AnnounceForm";

export function Announcements({ memberId }: { memberId: string }) {
  const [typed, setTyped] = useState("");
  const [filter] = useDebouncedValue(plainNumber(typed), 300);
  const [edited, setEdited] = useState<Announcement | null>(null);
  const [withdrawn, setWithdrawn] = useState<Announcement | null>(null);
  const queries = useQueryClient();
  const list = usePaged({
    key: ["announcements", memberId, filter],
    liveMs: LIVE_MS,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/announcements", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }), ...(filter && { prefix: filter }) } },
        }),
      ),
  });
  const withdraw = useMutation({
    mutationFn: ({ announcement_id }: Announcement) =>
      answer(
        api.DELETE("/api/v1/members/{member_id}/announcements/{announcement_id}", {
          params: { path: { member_id: memberId, announcement_id } },
        }),
      ),
    onSuccess: async () => {
      setWithdrawn(null);
      await queries.invalidateQueries({ queryKey: ["announcements", memberId] });
    },
  });

  const columns: Column<Announcement>[] = [
    { header: "Prefix", cell: ({ prefix, numbering }) => <Numbers prefix={prefix} numbering={numbering} /> },
    { header: "To endpoints", cell: ({ endpoints }) => endpoints.map(({ name }) => name).join(", ") },
    { header: "Authority", cell: ({ authority }) => <AnnouncedBadge authority={authority} /> },
    { header: "Routing", cell: (announcement) => <Routing announcement={announcement} /> },
    { header: "From", cell: ({ valid_from }) => <Time>{valid_from}</Time> },
    { header: "Until", cell: ({ valid_until }) => (valid_until ? <Time>{valid_until}</Time> : <span className="quiet nowrap">further notice</span>) },
    {
      header: "Change",
      align: "end",
      cell: (announcement) => (
        <Group gap={6} justify="flex-end" wrap="nowrap">
          <Button variant="default" size="compact-xs" onClick={() => setEdited(announcement)} aria-label={`Edit ${announcement.prefix}`}>
            Edit
          </Button>
          <Button variant="default" size="compact-xs" onClick={() => setWithdrawn(announcement)} aria-label={`Withdraw ${announcement.prefix}`}>
            Withdraw
          </Button>
        </Group>
      ),
    },
  ];

  return (
    <>
      <div>
        <TextInput
          label="Prefixes that begin with"
          placeholder="+44"
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          maw={220}
          mb="md"
        />
        <DataTable
          label="Announcements"
          columns={columns}
          list={list}
          rowKey={({ announcement_id }) => announcement_id}
          empty={
            filter ? (
              <Empty title="Nothing matches">No announcement begins with these digits.</Empty>
            ) : (
              <Empty title="Nothing announced yet" action={<Announce memberId={memberId} variant="light" />}>
                Announce a prefix of a range of yours and name the endpoints that take its calls. For many at once, upload a CSV file.
              </Empty>
            )
          }
        />
      </div>
      <Modal opened={edited !== null} onClose={() => setEdited(null)} title={`Edit ${edited?.prefix ?? ""}`}>
        {edited && <AnnounceForm memberId={memberId} announcement={edited} onDone={() => setEdited(null)} />}
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
        New calls to these numbers no longer reach you, on every node, at once. Calls that are up go on.
      </Confirm>
    </>
  );
}

function Routing({ announcement }: { announcement: Announcement }) {
  const why = useReason(announcement.reason);
  return (
    <div>
      <RoutableBadge announcement={announcement} why={why?.sentence} />
      {announcement.reason && (
        <Text size="xs" className="quiet" mt={2}>
          {why?.sentence}{" "}
          <Anchor component={Link} to={`/reasons/${announcement.reason}`} size="xs">
            What to do
          </Anchor>
        </Text>
      )}
    </div>
  );
}
