import { ActionIcon, CopyButton, Group, Tooltip } from "@mantine/core";

import { Icon } from "./Icon";

/** A text that is meant to be carried into another program, with a button that copies it. */
export function Copyable({ text, label }: { text: string; label: string }) {
  return (
    <Group gap={6} wrap="nowrap" display="inline-flex">
      <span className="mono" style={{ overflowWrap: "anywhere" }}>
        {text}
      </span>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? "Copied" : "Copy"}>
            <ActionIcon variant="subtle" color={copied ? "petrol" : "gray"} size="sm" onClick={copy} aria-label={`Copy ${label}`}>
              <Icon name={copied ? "check" : "copy"} size={15} />
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  );
}
