import { Badge, Button, Group, Modal, MultiSelect, NumberInput, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { notifications } from "@mantine/notifications";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { TransitOffer } from "../../api/types";
import { count } from "../../format/time";
import { type Column, DataTable, Empty } from "../../parts/DataTable";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { LimitInputs } from "../../parts/LimitInputs";
import { LIMIT_FIELDS, limitFields, limitsOf, limitsText } from "../../parts/limits";
import { usePaged } from "../../parts/paged";
import { ProblemNote } from "../../parts/ProblemNote";
import { decksKey, listDecks } from "./decks";

const OFFER: Column<TransitOffer>[] = [
  {
    header: "Rates",
    cell: ({ rate_deck_name }) => rate_deck_name,
  },
  { header: "Endpoints", cell: ({ endpoints }) => endpoints.map(({ name }) => name).join(", ") },
  {
    header: "Quality of the last hour",
    cell: ({ quality }) =>
      quality ? (
        <Stack gap={0} className="figures">
          <span>{quality.asr_percent} % answered</span>
          <span>{quality.ner_percent} % reached</span>
          <span>rings after {count(quality.pdd_ms)} ms</span>
        </Stack>
      ) : (
        <span className="quiet">too few calls to tell</span>
      ),
  },
  {
    header: "Limits and tags",
    cell: (offer) => (
      <Stack gap={0}>
        {[limitsText(offer), offer.tags.join(", ")].filter(Boolean).map((line) => (
          <span key={line}>{line}</span>
        ))}
      </Stack>
    ),
  },
  {
    header: "State",
    cell: ({ permitted }) => (permitted ? <Badge color="petrol">permitted</Badge> : <Badge color="copper">waits for the operator</Badge>),
  },
];

/** Shows why an act failed, and the offers anew where it did not. */
function useActs() {
  const queries = useQueryClient();
  return {
    onSuccess: () => queries.invalidateQueries({ queryKey: ["transit-offers"] }),
    onError: (thrown: unknown) => {
      const { message, remedy } = problemOf(thrown);
      notifications.show({ color: "red", title: message, message: remedy });
    },
  };
}

export function MemberOffers({ memberId }: { memberId: string }) {
  const list = usePaged({
    key: ["transit-offers", memberId],
    liveMs: 10_000,
    fetch: (cursor) =>
      answer(
        api.GET("/api/v1/members/{member_id}/transit-offers", {
          params: { path: { member_id: memberId }, query: { ...(cursor && { cursor }) } },
        }),
      ),
  });
  const withdraw = useMutation({
    mutationFn: (transit_offer_id: string) =>
      answer(
        api.DELETE("/api/v1/members/{member_id}/transit-offers/{transit_offer_id}", {
          params: { path: { member_id: memberId, transit_offer_id } },
        }),
      ),
    ...useActs(),
  });
  const columns: Column<TransitOffer>[] = [
    { header: "Offer", cell: ({ name }) => <strong>{name}</strong> },
    ...OFFER,
    {
      header: "Change",
      align: "end",
      cell: ({ transit_offer_id, name }) => (
        <Button
          size="compact-xs"
          variant="default"
          loading={withdraw.isPending && withdraw.variables === transit_offer_id}
          onClick={() => withdraw.mutate(transit_offer_id)}
          aria-label={`Withdraw ${name}`}
        >
          Withdraw
        </Button>
      ),
    },
  ];
  return (
    <DataTable
      label="Offers of transit"
      columns={columns}
      list={list}
      rowKey={({ transit_offer_id }) => transit_offer_id}
      empty={<Empty title="No offer yet">Make a rate deck and load it, then offer transit at its rates.</Empty>}
    />
  );
}

export function ExchangeOffers() {
  const list = usePaged({
    key: ["transit-offers", "all"],
    liveMs: 10_000,
    fetch: (cursor) => answer(api.GET("/api/v1/transit-offers", { params: { query: { ...(cursor && { cursor }) } } })),
  });
  const columns: Column<TransitOffer>[] = [
    {
      header: "Offer",
      cell: ({ name, member_name }) => (
        <span>
          <strong>{member_name}</strong> <span className="quiet">{name}</span>
        </span>
      ),
    },
    ...OFFER,
    { header: "Preference", align: "end", cell: ({ preference }) => count(preference) },
    { header: "Change", align: "end", cell: (offer) => <Permit offer={offer} /> },
  ];
  return (
    <DataTable
      label="Offers of transit"
      columns={columns}
      list={list}
      rowKey={({ transit_offer_id }) => transit_offer_id}
      empty={<Empty title="No offer yet">Members offer transit; you permit it here.</Empty>}
    />
  );
}

function Permit({ offer }: { offer: TransitOffer }) {
  const [opened, { open, close }] = useDisclosure(false);
  const acts = useActs();
  const form = useForm<{ preference: number | string }>({ initialValues: { preference: offer.preference } });
  const say = useMutation({
    mutationFn: (permitted: boolean) =>
      answer(
        api.PUT("/api/v1/transit-offers/{transit_offer_id}/permission", {
          params: { path: { transit_offer_id: offer.transit_offer_id } },
          body: { permitted, preference: Number(form.getValues().preference) || 0 },
        }),
      ),
    onSuccess: async () => {
      await acts.onSuccess();
      close();
    },
  });
  return (
    <>
      <Button size="compact-xs" variant={offer.permitted ? "default" : "filled"} onClick={open} aria-label={`Decide on ${offer.name} of ${offer.member_name}`}>
        {offer.permitted ? "Change" : "Permit"}
      </Button>
      <Modal opened={opened} onClose={close} title={`Transit by ${offer.member_name}`}>
        <Stack>
          <NumberInput
            label="Preference"
            description="Among offers of the same rate the lower one is tried first."
            min={0}
            max={65_535}
            {...form.getInputProps("preference")}
          />
          {say.error && <ProblemNote problem={problemOf(say.error)} />}
          <Group justify="flex-end">
            {offer.permitted && (
              <Button variant="default" color="red" loading={say.isPending} onClick={() => say.mutate(false)}>
                Permit no more
              </Button>
            )}
            <Button loading={say.isPending} onClick={() => say.mutate(true)}>
              {offer.permitted ? "Save" : "Permit"}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

export function MakeOffer({ memberId }: { memberId: string }) {
  const [opened, { open, close }] = useDisclosure(false);
  return (
    <>
      <Button onClick={open} leftSection={<Icon name="plus" size={15} />}>
        Offer transit
      </Button>
      <Modal opened={opened} onClose={close} title="Offer transit">
        <OfferForm memberId={memberId} onDone={close} />
      </Modal>
    </>
  );
}

function OfferForm({ memberId, onDone }: { memberId: string; onDone: () => void }) {
  const queries = useQueryClient();
  const decks = useQuery({ queryKey: [...decksKey(memberId), "choice"], queryFn: () => listDecks(memberId) });
  const endpoints = useQuery({
    queryKey: ["endpoints", memberId, "choice"],
    queryFn: () =>
      answer(api.GET("/api/v1/members/{member_id}/endpoints", { params: { path: { member_id: memberId }, query: { limit: 500 } } })),
  });
  const form = useForm({
    initialValues: { name: "", rate_deck_id: "", endpoints: [] as string[], tags: "", ...limitFields(undefined) },
  });
  const make = useMutation({
    mutationFn: ({ name, rate_deck_id, endpoints: chosen, tags, ...limits }: typeof form.values) =>
      answer(
        api.POST("/api/v1/members/{member_id}/transit-offers", {
          params: { path: { member_id: memberId } },
          body: { name, rate_deck_id, endpoints: chosen, tags: tags.split(/[\s,;]+/).filter(Boolean), ...limitsOf(limits) },
        }),
      ),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["transit-offers"] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });
  return (
    <form onSubmit={form.onSubmit((fields) => make.mutate(fields))}>
      <Stack>
        <TextInput label="Name" description="Lower-case letters, digits and hyphens." placeholder="pstn" required data-autofocus {...form.getInputProps("name")} />
        <Select
          label="Rate deck"
          description="Each number that has a rate in it is offered."
          required
          data={(decks.data?.items ?? []).map(({ rate_deck_id, name }) => ({ value: rate_deck_id, label: name }))}
          nothingFoundMessage="Make a rate deck first"
          {...form.getInputProps("rate_deck_id")}
        />
        <MultiSelect
          label="Endpoints"
          description="They take the calls."
          required
          data={(endpoints.data?.items ?? []).map(({ name }) => name)}
          {...form.getInputProps("endpoints")}
        />
        <LimitInputs form={form} />
        <TextInput label="Tags" description="What you promise, such as cli-guaranteed. Agreements may demand it. Optional." {...form.getInputProps("tags")} />
        {make.error && (
          <ProblemNote problem={problemOf(make.error)} shownFields={["name", "rate_deck_id", "endpoints", "tags", ...LIMIT_FIELDS]} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Offer
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
