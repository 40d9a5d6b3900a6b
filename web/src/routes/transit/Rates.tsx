import { Button, Modal, Stack, TextInput } from "@mantine/core";
import { useDebouncedValue, useDisclosure } from "@mantine/hooks";
import { useState } from "react";

import type { Rate } from "../../api/types";
import { count } from "../../format/time";
import { type Column, DataTable, Empty } from "../../parts/DataTable";
import { E164 } from "../../parts/E164";
import { usePaged } from "../../parts/paged";
import { Time } from "../../parts/Time";
import { decksKey, listRates, type Owner } from "./decks";

/** Which deck, and who looks at it: its owner, or a member that pays by it. */
type Shown = {
  reader: Owner;
  deckId: string;
};

export function ShowRates({ title, label, ...shown }: Shown & { title: string; label: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button size="compact-xs" variant="default" onClick={open} aria-label={label}>
        Rates
      </Button>
      <Modal opened={opened} onClose={close} title={title} size="lg">
        <Rates {...shown} />
      </Modal>
    </>
  );
}

const RATE: Column<Rate>[] = [
  { header: "Prefix", cell: ({ prefix }) => <E164>{prefix}</E164> },
  { header: "A minute", align: "end", cell: ({ per_minute }) => <span className="figures">{per_minute}</span> },
  { header: "From", cell: ({ valid_from }) => <Time>{valid_from}</Time> },
  { header: "Until", cell: ({ valid_until }) => (valid_until ? <Time>{valid_until}</Time> : "further notice") },
  { header: "Load", align: "end", cell: ({ version }) => count(version) },
];

function Rates({ reader, deckId }: Shown) {
  const [typed, setTyped] = useState("");
  const [prefix] = useDebouncedValue(typed.replace(/[^0-9]/g, ""), 300);
  const list = usePaged({
    key: [...decksKey(reader), deckId, prefix],
    fetch: (cursor) => listRates(reader, deckId, prefix, cursor),
  });
  return (
    <Stack>
      <TextInput label="Prefixes that begin with" placeholder="+44" value={typed} onChange={(event) => setTyped(event.currentTarget.value)} />
      <DataTable
        label="Rates"
        columns={RATE}
        list={list}
        rowKey={({ prefix: of, valid_from }) => `${of} ${valid_from}`}
        empty={<Empty title="No rate">The deck has none for such a prefix.</Empty>}
      />
    </Stack>
  );
}
