import { Group, NumberInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";

import type { LimitFields } from "./limits";

/** The two fields for limits on calls, of any form that has them. */
export function LimitInputs<Fields extends LimitFields>({ form }: { form: UseFormReturnType<Fields> }) {
  return (
    <Group grow align="flex-start" gap="sm">
      <NumberInput label="Calls at once" description="Empty: no bound" min={1} {...form.getInputProps("max_calls")} />
      <NumberInput label="New calls a second" description="Empty: no bound" min={1} {...form.getInputProps("max_calls_per_second")} />
    </Group>
  );
}
