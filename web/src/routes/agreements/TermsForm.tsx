import {
  Accordion,
  Button,
  Chip,
  Group,
  Input,
  Modal,
  MultiSelect,
  NumberInput,
  Radio,
  Select,
  Stack,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useForm, type UseFormReturnType } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Agreement } from "../../api/types";
import { useSession } from "../../app/session";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS } from "../../parts/limits";
import { useMembers } from "../../parts/members";
import { ProblemNote } from "../../parts/ProblemNote";
import { useSites } from "../../parts/sites";
import { decksKey, listDecks } from "../transit/decks";
import { numbersFault } from "./advance";
import { DAYS } from "./hours";
import { standpoint } from "./standpoint";
import { type TermsFields, termsFields, termsOf } from "./terms";

const SHOWN = [
  ...["with", "direction", "note", "notice_days", "own_prefixes", "other_prefixes", "demand", "sites", "hours"],
  ...["max_rate", "rate_deck_id", "margin_floor", "min_asr_percent", "min_ner_percent", "max_pdd_ms"].map((field) => `transit.${field}`),
  ...LIMIT_FIELDS,
];
const FAULTS = { statuses: numbersFault, causes: numbersFault };

export function Propose({ memberId, variant = "filled" }: { memberId: string; variant?: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button variant={variant} onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Propose an agreement
      </Button>
      <Modal opened={opened} onClose={close} title="Propose an agreement">
        <ProposeForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function ProposeForm({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const members = useMembers();
  const form = useForm<TermsFields & { with: string }>({ initialValues: { with: "", ...termsFields("both") }, validate: FAULTS });
  const propose = useMutation({
    mutationFn: ({ with: other, ...fields }: typeof form.values) => {
      const body = { with: other, ...termsOf(fields) };
      return answer(api.POST("/api/v1/members/{member_id}/agreements", { params: { path: { member_id: memberId } }, body }));
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["agreements"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  const others = members.data?.filter(({ member_id, state }) => member_id !== memberId && state === "approved") ?? [];
  return (
    <form onSubmit={form.onSubmit((fields) => propose.mutate(fields))}>
      <Stack>
        <Select
          label="With"
          placeholder="Choose a member"
          searchable
          required
          data={others.map(({ name, display_name }) => ({ value: name, label: `${display_name} (${name})` }))}
          nothingFoundMessage={others.length === 0 ? "No other member is approved yet" : "No member of that name"}
          {...form.getInputProps("with")}
        />
        <TermsInputs form={form} />
        {propose.error && <ProblemNote problem={problemOf(propose.error)} shownFields={SHOWN} />}
        <Buttons action="Propose" pending={propose.isPending} onCancel={onDone} />
      </Stack>
    </form>
  );
}

/** Answers an offer with other terms. */
export function Counter({ agreement, memberId, onDone }: { agreement: Agreement; memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const { direction, other } = standpoint(agreement, memberId);
  const form = useForm<TermsFields>({ initialValues: termsFields(direction, agreement, agreement.proposing_member.member_id === memberId), validate: FAULTS });
  const counter = useMutation({
    mutationFn: (fields: TermsFields) => {
      const path = { member_id: memberId, agreement_id: agreement.agreement_id };
      return answer(
        api.POST("/api/v1/members/{member_id}/agreements/{agreement_id}/counter", { params: { path }, body: termsOf(fields) }),
      );
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["agreements"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <Modal opened onClose={onDone} title={`Offer ${other.display_name} other terms`}>
      <form onSubmit={form.onSubmit((fields) => counter.mutate(fields))}>
        <Stack>
          <TermsInputs form={form} />
          {counter.error && <ProblemNote problem={problemOf(counter.error)} shownFields={SHOWN} />}
          <Buttons action="Offer" pending={counter.isPending} onCancel={onDone} />
        </Stack>
      </form>
    </Modal>
  );
}

function TermsInputs<Fields extends TermsFields>({ form }: { form: UseFormReturnType<Fields> }) {
  return (
    <>
      <Radio.Group label="Who may call" {...form.getInputProps("direction")}>
        <Stack gap={6} mt={6}>
          <Radio value="both" label="Each may call the other" />
          <Radio value="outgoing" label="You may call them" />
          <Radio value="incoming" label="They may call you" />
        </Stack>
      </Radio.Group>
      <Textarea label="Note" description="What the other member should know. Optional." {...form.getInputProps("note")} />
      <LimitInputs form={form} />
      <Accordion variant="contained">
        <Accordion.Item value="more">
          <Accordion.Control>More terms</Accordion.Control>
          <Accordion.Panel>
            <MoreInputs form={form} />
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
    </>
  );
}

/** What most agreements leave open. */
function MoreInputs<Fields extends TermsFields>({ form }: { form: UseFormReturnType<Fields> }) {
  const sites = useSites();
  return (
    <Stack>
      <Group grow align="flex-start" gap="sm">
        <TextInput label="Your prefixes" description="They may call only these. Empty: all" {...form.getInputProps("own_prefixes")} />
        <TextInput label="Their prefixes" description="You may call only these. Empty: all" {...form.getInputProps("other_prefixes")} />
      </Group>
      <Input.Wrapper label="Hours" description="Calls cross on these days only. None: at any time" error={form.errors.hours}>
        <Chip.Group multiple {...form.getInputProps("days")}>
          <Group gap={6} mt={6}>
            {DAYS.map((day) => (
              <Chip key={day} value={day} size="xs">
                {day}
              </Chip>
            ))}
          </Group>
        </Chip.Group>
      </Input.Wrapper>
      {form.getValues().days.length > 0 && (
        <Group grow align="flex-start" gap="sm">
          <TextInput label="From" placeholder="08:00" {...form.getInputProps("from")} />
          <TextInput label="Until" placeholder="24:00" {...form.getInputProps("until")} />
          <TextInput label="Time zone" placeholder="Europe/London" {...form.getInputProps("zone")} />
        </Group>
      )}
      <TextInput
        label="Demanded tags"
        description="Of announcements, such as cli-guaranteed and (no-transit or premium). Empty: none"
        {...form.getInputProps("demand")}
      />
      <TransitInputs form={form} />
      <MultiSelect label="Sites to use first" data={sites} placeholder="Any" {...form.getInputProps("sites")} />
      <NumberInput
        label="Days of notice"
        description="How long it goes on after one of you has ended it. Empty: not at all"
        min={0}
        max={365}
        {...form.getInputProps("notice_days")}
      />
      <Group grow align="flex-start" gap="sm">
        <TextInput
          label="Try the next endpoint after"
          description="SIP statuses, such as 486, 503. Both empty: as usual"
          {...form.getInputProps("statuses")}
        />
        <TextInput label="Or after" description="Q.850 causes, such as 34" {...form.getInputProps("causes")} />
      </Group>
    </Stack>
  );
}

/** What is asked of routes that lead onward. */
function TransitInputs<Fields extends TermsFields>({ form }: { form: UseFormReturnType<Fields> }) {
  const { member } = useSession();
  const owner = member?.member_id ?? null;
  const decks = useQuery({ queryKey: [...decksKey(owner), "choice"], queryFn: () => listDecks(owner) });
  const chosen = form.getValues().transit.rate_deck_id;
  const own = (decks.data?.items ?? []).map(({ rate_deck_id, name }) => ({ value: rate_deck_id, label: name }));
  const isOther = chosen !== null && own.every(({ value }) => value !== chosen);
  return (
    <>
      <TextInput
        label="Highest rate of transit"
        description="A minute, such as 0.02: dearer transit is left out. Empty: any"
        {...form.getInputProps("transit.max_rate")}
      />
      <Group grow align="flex-start" gap="sm">
        <Select
          label="Transit is paid by"
          description="A rate deck of yours. Empty: none"
          clearable
          data={isOther ? [...own, { value: chosen, label: "the deck of the offer" }] : own}
          {...form.getInputProps("transit.rate_deck_id")}
        />
        <TextInput label="At least left of it" description="A minute, once transit is paid" {...form.getInputProps("transit.margin_floor")} />
      </Group>
      <Group grow align="flex-start" gap="sm">
        <NumberInput label="Transit answered, %" description="At least" min={0} max={100} {...form.getInputProps("transit.min_asr_percent")} />
        <NumberInput label="Transit reaching, %" description="At least" min={0} max={100} {...form.getInputProps("transit.min_ner_percent")} />
        <NumberInput label="Ringing within, ms" description="At most" min={0} {...form.getInputProps("transit.max_pdd_ms")} />
      </Group>
    </>
  );
}

function Buttons({ action, pending, onCancel }: { action: string; pending: boolean; onCancel: () => void }) {
  return (
    <Group justify="flex-end">
      <Button variant="default" onClick={onCancel}>
        Cancel
      </Button>
      <Button type="submit" loading={pending}>
        {action}
      </Button>
    </Group>
  );
}
