// A list as a table: its columns, what to say while it is empty, and the way to the next page.
import { Button, Group, Skeleton, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useNavigate } from "react-router";

import { problemOf } from "../api/problem";
import type { Paged } from "./paged";
import { ProblemNote } from "./ProblemNote";

export type Column<Item> = {
  header: string;
  cell: (item: Item) => ReactNode;
  /** Figures and buttons stand at the end of their column. */
  align?: "end";
};

type Props<Item> = {
  label: string;
  columns: Column<Item>[];
  list: Paged<Item>;
  rowKey: (item: Item) => string;
  /** Where a click on the row leads; a cell of the row holds the same as a link. */
  href?: (item: Item) => string;
  empty: ReactNode;
};

export function DataTable<Item>({ label, columns, list, rowKey, href, empty }: Props<Item>) {
  const navigate = useNavigate();
  const { items, error } = list;
  if (items === undefined && error) return <ProblemNote problem={problemOf(error)} />;
  if (items?.length === 0 && list.page === 1) return <div className="table-frame">{empty}</div>;
  return (
    <div>
      <div className="table-frame">
        <Table highlightOnHover aria-label={label} aria-busy={items === undefined}>
          <Table.Thead>
            <Table.Tr>
              {columns.map(({ header, align }) => (
                <Table.Th key={header} scope="col" className={align === "end" ? "cell-end" : undefined}>
                  {header}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {items === undefined
              ? [0, 1, 2].map((row) => (
                  <Table.Tr key={row}>
                    <Table.Td colSpan={columns.length}>
                      <Skeleton height={16} />
                    </Table.Td>
                  </Table.Tr>
                ))
              : items.map((item) => (
                  <Table.Tr
                    key={rowKey(item)}
                    data-link={href ? true : undefined}
                    onClick={
                      href &&
                      ((event) => {
                        const onControl = event.target instanceof Element && event.target.closest("a, button, input");
                        if (!onControl && !getSelection()?.toString()) void navigate(href(item));
                      })
                    }
                  >
                    {columns.map(({ header, cell, align }) => (
                      <Table.Td key={header} className={align === "end" ? "cell-end" : undefined}>
                        {cell(item)}
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))}
          </Table.Tbody>
        </Table>
      </div>
      {(list.forward ?? list.back) && (
        <Group justify="flex-end" mt="xs" gap="xs">
          <Text size="xs" className="quiet">
            Page {list.page}
          </Text>
          <Button variant="default" size="xs" disabled={!list.back} onClick={() => list.back?.()}>
            Newer
          </Button>
          <Button variant="default" size="xs" disabled={!list.forward} onClick={() => list.forward?.()}>
            Older
          </Button>
        </Group>
      )}
    </div>
  );
}

/** What stands in place of an empty list: that it is empty, and the next step. */
export function Empty({ title, children, action }: { title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <Text fw={600}>{title}</Text>
      <Text size="sm" className="quiet" mt={2} mb={action ? "md" : 0}>
        {children}
      </Text>
      {action}
    </div>
  );
}
