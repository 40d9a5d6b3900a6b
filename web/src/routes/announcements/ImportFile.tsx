// A dialog that uploads a file of any size; closed or broken off, the upload goes on when the file is chosen again.
import { Button, Code, FileButton, Group, Modal, Progress, SegmentedControl, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { BulkMode, Import } from "../../api/types";
import { count } from "../../format/time";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";
import { keyOf, send } from "./upload";

export function ImportFile({ memberId, variant = "default" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="upload" size={15} />}>
        Import a large file
      </Button>
      <Modal opened={opened} onClose={close} title="Import announcements" size="lg">
        <Choose memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function Choose({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const [file, setFile] = useState<File | null>(null);
  const [mode, setMode] = useState<BulkMode>("merge");
  const [badRows, setBadRows] = useState<Import["bad_rows"]>("refuse");
  const [come, setCome] = useState<Import | null>(null);
  const queries = useQueryClient();
  const upload = useMutation({
    mutationFn: async ({ file, again }: { file: File; again: boolean }) => {
      const key = keyOf(file, ...(again ? [String(Date.now())] : []), mode, badRows);
      const body = {
        file_name: file.name,
        format: file.name.toLowerCase().endsWith(".csv") ? ("csv" as const) : ("ndjson" as const),
        octets: file.size,
        mode,
        bad_rows: badRows,
      };
      const begun = await answer(
        api.POST("/api/v1/members/{member_id}/imports", {
          params: { path: { member_id: memberId }, header: { "idempotency-key": key } },
          body,
        }),
      );
      setCome(begun);
      const isNew = begun.state === "receiving";
      await send(begun, file, setCome);
      return { isNew, begun };
    },
    onSuccess: ({ isNew }) => {
      if (isNew) onDone();
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ["imports", memberId] }),
  });
  const before = upload.data && !upload.data.isNew ? upload.data.begun : null;
  const percent = come ? Math.floor((100 * come.received_octets) / come.octets) : 0;
  function change(apply: () => void) {
    apply();
    setCome(null);
    upload.reset();
  }

  return (
    <Stack>
      <Text size="sm">
        CSV with the first line <Code>prefix,endpoints</Code> or <Code>prefix,endpoints,action</Code>, or one JSON object on each line;
        the action is <Code>announce</Code> or <Code>withdraw</Code>. All rows take effect in one moment. If the upload breaks off,
        choose the same file again: it goes on from where it was.
      </Text>
      <Group>
        <FileButton onChange={(chosen) => change(() => setFile(chosen))} accept=".csv,.ndjson,.jsonl" inputProps={{ "aria-label": "File to import" }}>
          {(props) => (
            <Button {...props} variant="default" disabled={upload.isPending}>
              {file ? "Choose another file" : "Choose a file"}
            </Button>
          )}
        </FileButton>
        {file && (
          <Text size="sm">
            {file.name}, {count(Math.ceil(file.size / 1024))} kB
          </Text>
        )}
      </Group>
      <SegmentedControl
        value={mode}
        disabled={upload.isPending}
        onChange={(value) => change(() => setMode(value === "replace" ? "replace" : "merge"))}
        data={[
          { value: "merge", label: "Keep what the file does not name" },
          { value: "replace", label: "Withdraw what the file does not name" },
        ]}
      />
      <SegmentedControl
        value={badRows}
        disabled={upload.isPending}
        onChange={(value) => change(() => setBadRows(value === "skip" ? "skip" : "refuse"))}
        data={[
          { value: "refuse", label: "A bad row stops all of it" },
          { value: "skip", label: "Leave bad rows out" },
        ]}
      />
      {upload.isPending && (
        <div>
          <Progress value={percent} aria-label="Uploaded" />
          <Text size="xs" className="quiet figures" mt={4}>
            {percent} % uploaded, {count(come?.good_rows ?? 0)} rows read
          </Text>
        </div>
      )}
      {before && (
        <Text size="sm" role="status">
          This very file was imported lately: it is {before.state}. Import it again only if your announcements have changed since.
        </Text>
      )}
      {upload.error && <ProblemNote problem={problemOf(upload.error)} />}
      <Group justify="flex-end">
        <Button variant="default" onClick={onDone}>
          {upload.isPending ? "Go on in the background" : "Cancel"}
        </Button>
        <Button
          disabled={file === null || file.size === 0}
          loading={upload.isPending}
          color={mode === "replace" ? "red" : "petrol"}
          onClick={() => file && upload.mutate({ file, again: before !== null })}
        >
          {before ? "Import it again" : "Import"}
        </Button>
      </Group>
    </Stack>
  );
}
