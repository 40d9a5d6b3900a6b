import { Alert, Button, Code, FileButton, Group, Modal, SegmentedControl, Stack, Table, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { BulkMode, BulkOutcome } from "../../api/types";
import { count } from "../../format/time";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";
import { HEADER, preview, type Preview } from "./csv";

/** Rows that the preview shows; faulty ones come first. */
const SHOWN = 12;

type Chosen = { name: string; text: string; preview: Preview };

export function UploadCsv({ memberId }: { memberId: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant="default" onClick={open} leftSection={<Icon name="upload" size={15} />}>
        Upload CSV
      </Button>
      <Modal opened={opened} onClose={close} title="Upload announcements" size="lg">
        <Upload memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function Upload({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const [mode, setMode] = useState<BulkMode>("merge");
  // One key for one file and mode: sending it again after a lost answer changes nothing twice.
  const [key, setKey] = useState(newKey);
  const queries = useQueryClient();
  const send = useMutation({
    mutationFn: ({ text }: Chosen) =>
      answer(
        api.POST("/api/v1/members/{member_id}/announcements/bulk", {
          params: { path: { member_id: memberId }, query: { mode }, header: { "idempotency-key": key } },
          headers: { "content-type": "text/csv" },
          body: text,
          bodySerializer: (body) => body,
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["announcements", memberId] }),
  });

  async function choose(file: File | null) {
    if (!file) return;
    const text = await file.text();
    setChosen({ name: file.name, text, preview: preview(text) });
    setKey(newKey());
    send.reset();
  }
  function changeMode(value: string) {
    setMode(value === "replace" ? "replace" : "merge");
    setKey(newKey());
    send.reset();
  }

  if (send.data) return <Done outcome={send.data} onDone={onDone} />;
  const ready = chosen !== null && chosen.preview.fault === null;
  return (
    <Stack>
      <Text size="sm">
        The first line is <Code>{HEADER}</Code>; each further line has a prefix and its endpoints, separated by semicolons or spaces,
        such as <Code>+44207946,ams-1;ams-2</Code>. All rows take effect together, or none.
      </Text>
      <Group>
        <FileButton onChange={(file) => void choose(file)} accept=".csv,text/csv,text/plain">
          {(props) => (
            <Button {...props} variant="default">
              {chosen ? "Choose another file" : "Choose a file"}
            </Button>
          )}
        </FileButton>
        {chosen && <Text size="sm">{chosen.name}</Text>}
      </Group>
      {chosen?.preview.fault && (
        <Alert color="red" variant="light" role="alert">
          {chosen.preview.fault}
        </Alert>
      )}
      {ready && <Rows read={chosen.preview} />}
      {ready && (
        <div>
          <SegmentedControl
            value={mode}
            onChange={changeMode}
            data={[
              { value: "merge", label: "Keep what the file does not name" },
              { value: "replace", label: "Withdraw what the file does not name" },
            ]}
          />
          {mode === "replace" && (
            <Text size="sm" c="copper" mt={6}>
              Every announcement that is not in the file is withdrawn.
            </Text>
          )}
        </div>
      )}
      {send.error && <ProblemNote problem={problemOf(send.error)} />}
      <Group justify="flex-end">
        <Button variant="default" onClick={onDone}>
          Cancel
        </Button>
        <Button
          disabled={!ready}
          loading={send.isPending}
          color={mode === "replace" ? "red" : "petrol"}
          onClick={() => chosen && send.mutate(chosen)}
        >
          {ready ? `Announce ${count(chosen.preview.rows.length)} ${chosen.preview.rows.length === 1 ? "row" : "rows"}` : "Announce"}
        </Button>
      </Group>
    </Stack>
  );
}

function Rows({ read }: { read: Preview }) {
  const faulty = read.rows.filter(({ fault }) => fault !== null);
  const shown = [...faulty, ...read.rows.filter(({ fault }) => fault === null)].slice(0, SHOWN);
  const hidden = read.rows.length - shown.length;
  return (
    <div>
      <Text size="sm" mb="xs">
        {count(read.rows.length)} {read.rows.length === 1 ? "row" : "rows"}
        {read.faults > 0 && (
          <Text span c="red">
            , {count(read.faults)} with a fault: the exchange will refuse the file
          </Text>
        )}
        .
      </Text>
      <div className="table-frame">
        <Table aria-label="Preview" verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Line</Table.Th>
              <Table.Th scope="col">Prefix</Table.Th>
              <Table.Th scope="col">Endpoints</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((row) => (
              <Table.Tr key={row.line}>
                <Table.Td className="figures">{row.line}</Table.Td>
                <Table.Td>
                  <span className="mono">{row.prefix}</span>
                  {row.fault && (
                    <Text size="xs" c="red">
                      {row.fault}
                    </Text>
                  )}
                </Table.Td>
                <Table.Td>{row.endpoints.join(", ")}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </div>
      {hidden > 0 && (
        <Text size="xs" className="quiet" mt={4}>
          and {count(hidden)} more
        </Text>
      )}
    </div>
  );
}

function Done({ outcome, onDone }: { outcome: BulkOutcome; onDone: () => void }) {
  const done = [
    [outcome.added, "added"],
    [outcome.changed, "changed"],
    [outcome.withdrawn, "withdrawn"],
    [outcome.unchanged, "unchanged"],
  ] as const;
  return (
    <Stack>
      <Alert color="petrol" variant="light" title="Announced" role="status">
        <Text size="sm" className="figures">
          {done.map(([number, word]) => `${count(number)} ${word}`).join(", ")}. Route table {count(outcome.table_version)} has all of it.
        </Text>
      </Alert>
      <Group justify="flex-end">
        <Button onClick={onDone}>Close</Button>
      </Group>
    </Stack>
  );
}

/** `crypto.randomUUID` is missing on pages without TLS, so the key is made of random octets. */
function newKey(): string {
  const octets = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}
