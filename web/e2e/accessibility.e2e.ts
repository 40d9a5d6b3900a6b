// Every page against the rules of axe-core, in both colour schemes: names, contrast, structure.
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { go, launch, OPERATOR, signIn, visit } from "./browser";

const OUTSIDE = ["/sign-in", "/join", "/reasons", "/reasons/no_route"];
const OPERATORS = ["Overview", "Members", "Verification", "Allocations", "Change sets", "Clubs", "Calls", "Lookup", "Nodes", "Where to connect", "Tokens", "History"];

let browser: Browser;
let page: Page;

beforeAll(async () => {
  browser = await launch();
  page = await visit(browser, []);
});

afterAll(async () => {
  await browser.close();
});

test("pages before the session", async () => {
  for (const path of OUTSIDE) {
    await page.goto(path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    expect(await violations(page), path).toEqual([]);
  }
});

test.each(["light", "dark"] as const)("pages of the operator, %s", async (colorScheme) => {
  await page.emulateMedia({ colorScheme });
  if (colorScheme === "light") await signIn(page, OPERATOR);
  await page.goto("/overview");
  for (const entry of OPERATORS) {
    await go(page, entry);
    await page.waitForLoadState("networkidle").catch(() => undefined);
    expect(await violations(page), entry).toEqual([]);
  }
});

/** What axe-core finds, in one line each. The CSP allows no script from elsewhere, so it is evaluated from here. */
async function violations(shown: Page): Promise<string[]> {
  await shown.evaluate(axe.source);
  return await shown.evaluate(async () => {
    const { axe: checker } = window as unknown as { axe: typeof axe };
    const { violations: found } = await checker.run(document, { resultTypes: ["violations"] });
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  });
}
