// How the exchange speaks with a switch: a kind of switch, and behind a click each group of settings in which this one
// differs. A setting that equals the profile's is not stored.
import { Accordion, Badge, Group, Input, NumberInput, Select, Stack, Switch, TagsInput, Text, Textarea, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { answer, api } from "../../api/client";
import { useSession } from "../../app/session";
import type { Policy } from "../../api/types";
import {
  SETTING_GROUPS,
  countDiffering,
  rulesOf,
  statusesOf,
  textOf,
  textOfRules,
  textOfStatuses,
  valueAt,
  withValue,
  type Setting,
} from "./settings";

export function useProfiles() {
  return useQuery({ queryKey: ["profiles"], queryFn: () => answer(api.GET("/api/v1/profiles")), staleTime: Infinity });
}

type Props = { policy: Policy; errors: Record<string, React.ReactNode>; onChange: (policy: Policy) => void };

export function PolicyFields({ policy, errors, onChange }: Props) {
  const { data: profiles = [] } = useProfiles();
  const profile = profiles.find((it) => it.profile === policy.profile);
  const { overrides } = policy;
  const change = (path: string, value: unknown) => {
    const isUsual = JSON.stringify(value) === JSON.stringify(valueAt(profile?.settings, path));
    onChange({ ...policy, overrides: withValue(overrides, path, isUsual ? undefined : value) });
  };
  return (
    <Stack gap="xs">
      <Select
        label="Kind of switch"
        description={profile?.explanation}
        inputWrapperOrder={["label", "input", "description", "error"]}
        data={profiles.map(({ profile, title }) => ({ value: profile, label: title }))}
        allowDeselect={false}
        value={policy.profile}
        onChange={(value) => value && onChange({ ...policy, profile: value })}
        error={errors["policy.profile"]}
      />
      <Accordion variant="contained" multiple chevronPosition="left" radius="sm">
        {SETTING_GROUPS.map((settingGroup) => {
          const { group, title, about, settings } = settingGroup;
          const differing = countDiffering(settingGroup, overrides);
          const faults = Object.keys(errors).filter((field) => field.startsWith(`policy.overrides.${group}`));
          return (
            <Accordion.Item key={group} value={group}>
              <Accordion.Control>
                <Group gap="xs">
                  <Text size="sm">{title}</Text>
                  {differing > 0 && (
                    <Badge color="petrol" variant="light">
                      {differing === 1 ? "1 differs" : `${differing} differ`}
                    </Badge>
                  )}
                  {faults.length > 0 && <Badge color="red">to mend</Badge>}
                </Group>
              </Accordion.Control>
              <Accordion.Panel>
                <Stack gap="sm">
                  <Input.Description>{about}</Input.Description>
                  {errors[`policy.overrides.${group}`] && <Input.Error>{errors[`policy.overrides.${group}`]}</Input.Error>}
                  {settings.map((setting) => {
                    const path = `${group}.${setting.name}`;
                    return (
                      <SettingField
                        key={path}
                        setting={setting}
                        value={valueAt(overrides, path) ?? valueAt(profile?.settings, path)}
                        isUsual={valueAt(overrides, path) === undefined}
                        error={errorsUnder(errors, `policy.overrides.${path}`)}
                        onChange={(value) => change(path, value)}
                      />
                    );
                  })}
                </Stack>
              </Accordion.Panel>
            </Accordion.Item>
          );
        })}
      </Accordion>
    </Stack>
  );
}

/** The errors of a setting and of what is in it, one a line. */
function errorsUnder(errors: Record<string, React.ReactNode>, path: string) {
  const own = Object.entries(errors).filter(([field]) => field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`));
  return own.length === 0 ? undefined : (
    <>
      {own.map(([field, message]) => (
        <span key={field} style={{ display: "block" }}>
          {field.startsWith(`${path}.`) ? `${field.slice(path.length + 1)}: ` : ""}
          {message}
        </span>
      ))}
    </>
  );
}

type FieldProps = {
  setting: Setting;
  value: unknown;
  isUsual: boolean;
  error: React.ReactNode;
  onChange: (value: unknown) => void;
};

function SettingField({ setting, value, isUsual, error, onChange }: FieldProps) {
  const { kind, label, choices = [], isOperators = false } = setting;
  const { role } = useSession();
  const isFixed = isOperators && role !== "operator";
  const description = isFixed ? "Set by the operator of the exchange" : setting.description;
  const common = { label: isUsual ? label : `${label} (differs)`, description, error, disabled: isFixed };
  switch (kind) {
    case "choice":
      return (
        <Select {...common} data={choices} allowDeselect={false} value={textOf(value)} onChange={(chosen) => chosen && onChange(chosen)} />
      );
    case "text":
      return <TextInput {...common} value={textOf(value)} onChange={(event) => onChange(event.currentTarget.value.trim())} />;
    case "yes":
      return <Switch {...common} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />;
    case "number":
      return (
        <NumberInput
          {...common}
          min={0}
          allowDecimal={false}
          value={typeof value === "number" ? value : ""}
          onChange={(number) => onChange(typeof number === "number" ? number : null)}
        />
      );
    case "names":
      return <TagsInput {...common} value={Array.isArray(value) ? value.map(String) : []} onChange={onChange} />;
    case "rules":
      return <LinesField common={common} text={textOfRules(value)} onLines={(text) => onChange(rulesOf(text))} />;
    case "statuses":
      return <LinesField common={common} text={textOfStatuses(value)} onLines={(text) => onChange(statusesOf(text))} />;
  }
}

/** A text of one entry a line. It is read when the reader leaves it, so that half a line is not taken for one. */
function LinesField({ common, text, onLines }: { common: object; text: string; onLines: (text: string) => void }) {
  const [draft, setDraft] = useState<string | null>(null);
  return (
    <Textarea
      {...common}
      autosize
      minRows={2}
      classNames={{ input: "mono" }}
      value={draft ?? text}
      onChange={(event) => setDraft(event.currentTarget.value)}
      onBlur={() => {
        if (draft !== null) onLines(draft);
        setDraft(null);
      }}
    />
  );
}
