import { ActionIcon, Button, Fieldset, Group, Input, MultiSelect, NumberInput, Select, Stack, Switch, TagsInput, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useMutation, useQueryClient } from "@tanstack/react-query";

import { answer, api } from "../../api/client";
import { problemOf } from "../../api/problem";
import type { Endpoint, EndpointInput, Policy } from "../../api/types";
import { showFieldErrors } from "../../parts/form";
import { Icon } from "../../parts/Icon";
import { ProblemNote } from "../../parts/ProblemNote";
import { useListeners } from "../connect/page";
import { PolicyFields } from "./PolicyFields";
import { fieldsOf, REGISTRATION, targetOf, type TargetFields } from "./target";

type Fields = Omit<TargetFields, "port"> & {
  name: string;
  sources: { net: string; port: number | "" }[];
  tech_prefix: string;
  request_domain: string;
  certificate_names: string[];
  sites: string[];
  target_port: number | "";
  priority: number | "";
  weight: number | "";
  max_calls: number | "";
  max_calls_per_second: number | "";
  enabled: boolean;
  policy: Policy;
};

const orNull = (value: number | "") => (value === "" ? null : value);
const textOrNull = (text: string) => (text.trim() === "" ? null : text.trim());

function initial(endpoint: Endpoint | undefined): Fields {
  const { host, port, transport } = endpoint ? fieldsOf(endpoint.target) : { host: "", port: "" as const, transport: "udp" as const };
  return {
    name: endpoint?.name ?? "",
    sources: endpoint?.sources.map(({ net, port }) => ({ net, port: port ?? "" })) ?? [{ net: "", port: "" }],
    tech_prefix: endpoint?.tech_prefix ?? "",
    request_domain: endpoint?.request_domain ?? "",
    certificate_names: endpoint?.certificate_names ?? [],
    sites: endpoint?.sites ?? [],
    host,
    target_port: port,
    transport,
    priority: endpoint?.priority ?? 1,
    weight: endpoint?.weight ?? 100,
    max_calls: endpoint?.max_calls ?? "",
    max_calls_per_second: endpoint?.max_calls_per_second ?? "",
    enabled: endpoint?.enabled ?? true,
    policy: endpoint?.policy ?? { profile: "neutral", overrides: {} },
  };
}

function bodyOf(fields: Fields): EndpointInput {
  const { name, sources, tech_prefix, request_domain, certificate_names, sites, host, target_port, transport, priority, weight, max_calls, max_calls_per_second, enabled, policy } = fields;
  return {
    name: name.trim(),
    sources: sources.map(({ net, port }) => ({ net: net.trim(), port: orNull(port) })).filter(({ net }) => net !== ""),
    tech_prefix: textOrNull(tech_prefix),
    request_domain: textOrNull(request_domain),
    certificate_names,
    sites,
    target: targetOf({ host, port: target_port, transport }),
    ...(priority !== "" && { priority }),
    ...(weight !== "" && { weight }),
    max_calls: orNull(max_calls),
    max_calls_per_second: orNull(max_calls_per_second),
    enabled,
    policy,
  };
}

type Props = { memberId: string; endpoint?: Endpoint; onDone: () => void };

export function EndpointForm({ memberId, endpoint, onDone }: Props) {
  const queries = useQueryClient();
  const { data: connect } = useListeners();
  const known = [...new Set(connect?.listeners.map(({ site }) => site))];
  const form = useForm<Fields>({ initialValues: initial(endpoint) });
  const save = useMutation({
    mutationFn: (body: EndpointInput) => {
      const path = { member_id: memberId };
      return endpoint
        ? answer(
            api.PUT("/api/v1/members/{member_id}/endpoints/{endpoint_id}", {
              params: { path: { ...path, endpoint_id: endpoint.endpoint_id } },
              body,
            }),
          )
        : answer(api.POST("/api/v1/members/{member_id}/endpoints", { params: { path }, body }));
    },
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ["endpoints", memberId] });
      onDone();
    },
    onError: (thrown) => showFieldErrors(form, thrown),
  });

  const shown = save.error
    ? problemOf(save.error)
        .errors.map(({ field }) => field)
        .filter((field) => /^(name|target|sources|tech_prefix|request_domain|certificate_names|sites|priority|weight|max_calls|max_calls_per_second|policy)/.test(field))
    : [];
  const registers = form.values.host === REGISTRATION;
  return (
    <form onSubmit={form.onSubmit((fields) => save.mutate(bodyOf(fields)))}>
      <Stack>
        <TextInput
          label="Name"
          description="Yours to choose: lower-case letters, digits, dots and hyphens."
          placeholder="ams-1"
          required
          data-autofocus
          {...form.getInputProps("name")}
        />
        <Fieldset legend="Takes calls at" variant="filled">
          <Switch
            label="Wherever it registers"
            description="For a switch behind an address that changes. Give it a user name and a password afterwards."
            mb="sm"
            checked={registers}
            onChange={({ currentTarget: { checked } }) => form.setFieldValue("host", checked ? REGISTRATION : "")}
          />
          <Group align="flex-start" gap="sm" grow preventGrowOverflow={false} display={registers ? "none" : undefined}>
            <TextInput
              label="IP address or DNS name"
              placeholder="192.0.2.21"
              required
              miw={200}
              {...form.getInputProps("host")}
              error={form.errors.target !== undefined}
            />
            <NumberInput label="Port" placeholder="usual" min={1} max={65535} maw={110} {...form.getInputProps("target_port")} />
            <Select label="Transport" data={TRANSPORTS} maw={130} {...form.getInputProps("transport")} />
          </Group>
          {form.errors.target && <Input.Error mt={6}>{form.errors.target}</Input.Error>}
        </Fieldset>
        <Fieldset legend="Sends from" variant="filled">
          <Input.Description mb="xs">
            An address, or a block such as 192.0.2.0/28. Leave it empty where the endpoint only takes calls.
          </Input.Description>
          <Stack gap="xs">
            {form.values.sources.map((_, index) => (
              <Group key={index} align="flex-start" gap="sm" wrap="nowrap">
                <TextInput
                  aria-label={`Address ${index + 1}`}
                  placeholder="192.0.2.21"
                  flex={1}
                  {...form.getInputProps(`sources.${index}.net`)}
                  error={form.errors[`sources.${index}.net`] ?? form.errors[`sources.${index}`]}
                />
                <NumberInput
                  aria-label={`Port of address ${index + 1}`}
                  placeholder="any port"
                  min={1}
                  max={65535}
                  w={110}
                  {...form.getInputProps(`sources.${index}.port`)}
                />
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  mt={6}
                  aria-label={`Remove address ${index + 1}`}
                  onClick={() => form.removeListItem("sources", index)}
                >
                  <Icon name="cross" size={14} />
                </ActionIcon>
              </Group>
            ))}
            {form.errors.sources && <Input.Error>{form.errors.sources}</Input.Error>}
            <Group>
              <Button
                variant="subtle"
                size="compact-sm"
                leftSection={<Icon name="plus" size={13} />}
                onClick={() => form.insertListItem("sources", { net: "", port: "" })}
              >
                Another address
              </Button>
            </Group>
            <Group align="flex-start" gap="sm" grow>
              <TextInput
                label="Tech-prefix"
                description="Digits before the called number"
                placeholder="none"
                {...form.getInputProps("tech_prefix")}
              />
              <TextInput
                label="Request domain"
                description="Host of the Request-URI"
                placeholder="none"
                {...form.getInputProps("request_domain")}
              />
            </Group>
            <Input.Description>
              One of these tells its calls from those of another endpoint at the same address, which has one of its own. The
              prefix is taken off before the number is read.
            </Input.Description>
          </Stack>
        </Fieldset>
        <TagsInput
          label="Known by its certificate"
          description="DNS names in the TLS client certificate of your switch, for one that connects by TLS. Enter after each."
          placeholder="sbc.acme.example"
          {...form.getInputProps("certificate_names")}
        />
        {known.length > 1 && (
          <MultiSelect
            label="Sites"
            description="Where this switch meets the exchange: calls that come in there go to it first. Empty: anywhere."
            data={known}
            {...form.getInputProps("sites")}
          />
        )}
        <PolicyFields
          policy={form.values.policy}
          errors={form.errors}
          onChange={(policy) => form.setFieldValue("policy", policy)}
        />
        <Group grow align="flex-start" gap="sm">
          <NumberInput label="Priority" description="Lower is tried first" min={0} {...form.getInputProps("priority")} />
          <NumberInput label="Weight" description="Share among equals" min={0} {...form.getInputProps("weight")} />
          <NumberInput label="Calls at once" description="Empty: no bound" min={1} {...form.getInputProps("max_calls")} />
          <NumberInput label="New calls a second" description="Empty: no bound" min={1} {...form.getInputProps("max_calls_per_second")} />
        </Group>
        <Switch label="Enabled" {...form.getInputProps("enabled", { type: "checkbox" })} />
        {save.error && <ProblemNote problem={problemOf(save.error)} shownFields={shown} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            {endpoint ? "Save" : "Add"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const TRANSPORTS = [
  { value: "udp", label: "UDP" },
  { value: "tcp", label: "TCP" },
  { value: "tls", label: "TLS" },
  { value: "", label: "as DNS says" },
];
