import { Button, Loader, Table } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { AllocationList } from "../../api/types";
import type { Audience } from "../../app/paths";
import { count } from "../../format/time";
import { Confirm } from "../../parts/Confirm";
import { Empty } from "../../parts/DataTable";
import { Page, Section } from "../../parts/Page";
import { ProblemNote } from "../../parts/ProblemNote";
import { Time } from "../../parts/Time";
import { HolderNames } from "./HolderNames";
import { ImportAllocations } from "./ImportAllocations";

export const audience: Audience = "operator";

export default function Allocations() {
  return (
    <Page
      title="Allocations"
      lead="What regulators have given to whom. A member's claim to numbers that a file gives to it is verified at once, and one to numbers of somebody else waits for you with the holder's name."
      actions={<ImportAllocations />}
    >
      <Lists />
      <Section title="Names of members" lead="Under which names or codes the files know each member, whatever their case. A name is one member's.">
        <HolderNames />
      </Section>
    </Page>
  );
}

function Lists() {
  const [removed, setRemoved] = useState<AllocationList | null>(null);
  const queries = useQueryClient();
  const { data: lists, error } = useQuery({ queryKey: ["allocations"], queryFn: () => answer(api.GET("/api/v1/allocations")) });
  const remove = useMutation({
    mutationFn: ({ name }: AllocationList) => answer(api.DELETE("/api/v1/allocations/{name}", { params: { path: { name } } })),
    onSuccess: async () => {
      setRemoved(null);
      await queries.invalidateQueries();
    },
  });
  if (!lists) return error ? <ProblemNote problem={problemOf(error)} /> : <Loader role="status" aria-label="Loading" />;
  if (lists.length === 0) {
    return (
      <Empty title="No file yet" action={<ImportAllocations variant="light" />}>
        Import the list of allocations that your regulator publishes, as CSV.
      </Empty>
    );
  }
  return (
    <div className="table-frame">
      <Table aria-label="Allocation files">
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">File</Table.Th>
            <Table.Th scope="col">Allocations</Table.Th>
            <Table.Th scope="col">Imported</Table.Th>
            <Table.Th scope="col" ta="end">
              Change
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {lists.map((list) => (
            <Table.Tr key={list.name}>
              <Table.Td>{list.name}</Table.Td>
              <Table.Td className="figures">{count(list.rows)}</Table.Td>
              <Table.Td>
                <Time>{list.imported_at}</Time>
              </Table.Td>
              <Table.Td ta="end">
                <Button variant="default" size="compact-xs" onClick={() => setRemoved(list)} aria-label={`Remove ${list.name}`}>
                  Remove
                </Button>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Confirm
        opened={removed !== null}
        onClose={() => {
          setRemoved(null);
          remove.reset();
        }}
        title={`Remove ${removed?.name ?? ""}?`}
        action="Remove"
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => removed && remove.mutate(removed)}
      >
        Ranges that were verified by it stand, and wait for your decision under Verification.
      </Confirm>
    </div>
  );
}
