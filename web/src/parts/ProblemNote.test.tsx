// @vitest-environment happy-dom
import { MantineProvider } from "@mantine/core";
import { cleanup, render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test } from "vitest";

import { Problem } from "../api/problem";
import { ProblemNote } from "./ProblemNote";

afterEach(cleanup);

const NO_ROUTE = {
  title: "no member announces the called number",
  status: 404,
  code: "no_route",
  detail: "No member announces the called number.",
  remedy: "Check the number.",
  errors: [],
};

function show(problem: Problem, shownFields: string[] = []) {
  render(
    <MantineProvider>
      <MemoryRouter>
        <ProblemNote problem={problem} shownFields={shownFields} />
      </MemoryRouter>
    </MantineProvider>,
  );
  return screen.getByRole("alert");
}

test("a problem is shown with its sentence once, its remedy, and a link to its page", () => {
  const note = show(new Problem(NO_ROUTE));
  expect(note.textContent.match(/No member announces/g)).toHaveLength(1);
  expect(note.textContent).toContain("Check the number.");
  expect(screen.getByRole("link").getAttribute("href")).toBe("/reasons/no_route");
});

test("row errors name the row", () => {
  const errors = [{ field: "prefix", message: "not a prefix", row: 3 }];
  expect(show(new Problem({ ...NO_ROUTE, errors })).textContent).toContain("Row 3, prefix: Not a prefix.");
});

test("errors that the fields show are not told twice", () => {
  const errors = [{ field: "name", message: "taken" }];
  expect(show(new Problem({ ...NO_ROUTE, errors }), ["name"]).textContent).toBe("Not saved: mend the marked field.");
});

test("what the registry does not know has no link", () => {
  show(new Problem({ ...NO_ROUTE, code: "unreachable" }));
  expect(screen.queryByRole("link")).toBeNull();
});
