import { expect, test } from "vitest";

import { pathOf, safeNext } from "./paths";

test("a folder of routes is a URL", () => {
  expect(pathOf("../routes/overview/page.tsx")).toBe("/overview");
  expect(pathOf("../routes/members/[member]/page.tsx")).toBe("/members/:member");
});

test("signing in leads only to pages of the portal", () => {
  expect(safeNext("/calls?up=true")).toBe("/calls?up=true");
  for (const elsewhere of [null, "", "https://example.com", "//example.com", "/\\example.com", "javascript:alert(1)"]) {
    expect(safeNext(elsewhere)).toBe("/overview");
  }
});
