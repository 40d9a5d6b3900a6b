// From two applications to a route between them, through the pages that members and the operator use.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { SETTING_GROUPS, pathsOf, type Tree } from "../src/routes/endpoints/settings";
import { go, launch, OPERATOR, signIn, visit } from "./browser";

// Names and numbers of one run, so that a hub may be used for several.
const run = Date.now();
const digits = String(run).slice(-6);
const sourceOctets = [run % 250, Math.floor(run / 250) % 250];

type Provider = { name: string; display: string; email: string; password: string; prefix: string; ip: string; page: Page };

/** What is chosen of some settings that are choices. */
const CHOSEN = {
  "When it redirects a call (3xx)": "the number that it names is called",
  "Texts (MESSAGE)": "cross",
  "Transfers (REFER)": "cross",
};

const complaints: string[] = [];
let browser: Browser;
let operator: Page;
let acme: Provider;
let globex: Provider;

beforeAll(async () => {
  browser = await launch();
  operator = await visit(browser, complaints);
  // London has no numbers that begin with just any digit.
  acme = await provider("acme", `+44207${digits.slice(1)}`, 1);
  globex = await provider("globex", `+3312${digits}`, 2);
});

afterAll(async () => {
  await browser.close();
});

async function provider(name: string, prefix: string, host: number): Promise<Provider> {
  return {
    name: `${name}-${run}`,
    display: `${name} ${run}`,
    email: `noc@${name}-${run}.example`,
    password: `a long password ${run}`,
    prefix,
    ip: `10.${sourceOctets.join(".")}.${host}`,
    page: await visit(browser, complaints),
  };
}

test("a provider applies and is told that the operator must act", async () => {
  for (const { page, name, display, email, password } of [acme, globex]) {
    await page.goto("/join");
    await page.getByLabel("Name of your company").fill(display);
    await page.getByLabel("Short name").fill(name);
    await page.getByLabel("E-mail of the contact").fill(email);
    await page.getByRole("textbox", { name: "Password" }).fill(password);
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("The operator must act").first().waitFor();
  }
});

test("the operator approves both", async () => {
  await signIn(operator, OPERATOR);
  await go(operator, "Members");
  for (const { name } of [acme, globex]) {
    await operator.getByRole("button", { name: `Approve ${name}` }).click();
    await operator.getByRole("button", { name: `Suspend ${name}` }).waitFor();
  }
});

test("each adds an endpoint; what is no address and no name is refused at its field", async () => {
  for (const { page, ip } of [acme, globex]) {
    await go(page, "Endpoints");
    await page.getByRole("button", { name: "Add an endpoint" }).first().click();
    const form = page.getByRole("dialog");
    await form.getByRole("textbox", { name: "Name", exact: true }).fill("ams-1");
    await form.getByLabel("IP address").fill("sip_1.example.net");
    await form.getByLabel("Address 1", { exact: true }).fill(`${ip}/32`);
    await form.getByRole("button", { name: "Add", exact: true }).click();
    await form.getByText("mend the marked field").waitFor();
    await form.getByLabel("IP address").fill(ip);
    await form.getByRole("button", { name: "Add", exact: true }).click();
    await form.waitFor({ state: "detached" });
    await page.getByRole("cell", { name: "ams-1", exact: true }).waitFor();
  }
});

test("a kind of switch is chosen, a setting of it that is wrong is shown where it is, and the portal prints what to paste", async () => {
  const { page, ip } = acme;
  await go(page, "Endpoints");
  await page.getByRole("button", { name: "Change ams-1" }).click();
  await page.getByRole("menuitem", { name: "Edit" }).click();
  const form = page.getByRole("dialog");
  await form.getByRole("combobox", { name: "Kind of switch" }).click();
  await page.getByRole("option", { name: "Asterisk (PJSIP)" }).click();
  await form.getByText("trust_id_inbound").waitFor();
  await form.getByRole("button", { name: "Numbers" }).click();
  await form.getByLabel("Country code").fill("044");
  await form.getByRole("button", { name: "Save" }).click();
  await form.getByText("A country code has one to three digits").waitFor();
  await form.getByLabel("Country code").fill("44");
  await form.getByRole("button", { name: "Save" }).click();
  await form.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Change ams-1" }).click();
  await page.getByRole("menuitem", { name: "Configure your switch" }).click();
  const configuration = page.getByRole("dialog");
  await configuration.getByText(`bind = ${ip}:5060`).waitFor();
  await configuration.getByRole("button", { name: "Copy pjsip.conf" }).waitFor();
  await page.keyboard.press("Escape");
  await configuration.waitFor({ state: "detached" });
});

test("every setting of the API has a field, which shows what is stored", async () => {
  const { page } = acme;
  const profiles = (await (await page.request.get("/api/v1/profiles")).json()) as { settings: Tree }[];
  const fields = SETTING_GROUPS.flatMap(({ group, settings }) => settings.map(({ name }) => `${group}.${name}`)).sort();
  expect(profiles.length).toBeGreaterThan(7);
  for (const { settings } of profiles) expect(fields).toEqual(pathsOf(settings).sort());

  const edit = async () => {
    await page.getByRole("button", { name: "Change ams-1" }).click();
    await page.getByRole("menuitem", { name: "Edit" }).click();
    const form = page.getByRole("dialog");
    for (const group of ["Sessions", "Texts and transfers", "Calls past the exchange"]) await form.getByRole("button", { name: group }).click();
    return form;
  };
  let form = await edit();
  await form.getByLabel("Session interval").fill("5");
  for (const [label, choice] of Object.entries(CHOSEN)) {
    await form.getByRole("combobox", { name: label }).click();
    await page.getByRole("option", { name: choice }).click();
  }
  await form.getByRole("switch", { name: "May be called directly" }).check();
  await form.getByLabel("Tech-prefix").fill("9911");
  await form.getByRole("button", { name: "Save" }).click();
  // Judged by the API, and said in the group that it belongs to.
  await form.getByText("write 90 to 86400 seconds").waitFor();
  await form.getByLabel("Session interval").fill("600");
  await form.getByRole("button", { name: "Save" }).click();
  await form.waitFor({ state: "detached" });

  form = await edit();
  for (const [label, choice] of Object.entries(CHOSEN)) {
    expect(await form.getByRole("combobox", { name: label }).inputValue()).toBe(choice);
  }
  expect(await form.getByRole("switch", { name: "May be called directly" }).isChecked()).toBe(true);
  expect(await form.getByLabel("Session interval").inputValue()).toBe("600");
  await page.keyboard.press("Escape");
  await form.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Change ams-1" }).click();
  await page.getByRole("menuitem", { name: "Configure your switch" }).click();
  const configuration = page.getByRole("dialog");
  await configuration.getByText("bear its tech-prefix").waitFor();
  await configuration.getByText("Dial(PJSIP/9911${EXTEN}@tandem,60)").waitFor();
  await page.keyboard.press("Escape");
  await configuration.waitFor({ state: "detached" });
});

test("each claims a range and the operator verifies it", async () => {
  for (const { page, prefix } of [acme, globex]) {
    await go(page, "Ranges");
    await page.getByRole("button", { name: "Claim a range" }).first().click();
    const form = page.getByRole("dialog");
    await form.getByLabel("Prefix").fill(prefix);
    await form.getByLabel("Evidence").fill("allocation of the regulator, reference 1");
    await form.getByRole("button", { name: "Claim", exact: true }).click();
    await form.waitFor({ state: "detached" });
    await page.getByText("pending", { exact: true }).waitFor();
  }
  // Calls prove a range only where the operator has set them up.
  await acme.page.getByRole("button", { name: `Prove ${acme.prefix} by calls` }).click();
  const challenge = acme.page.getByRole("dialog");
  await challenge.getByText("0 of 2 are proven").waitFor();
  await challenge.getByRole("button", { name: "Call a number" }).click();
  await challenge.getByRole("alert").getByText("The operator has named no endpoint for challenge calls.").waitFor();
  await challenge.getByRole("button", { name: "Close", exact: true }).last().click();
  await challenge.waitFor({ state: "detached" });
  await go(operator, "Verification");
  for (const { name, prefix, page } of [acme, globex]) {
    const verify = operator.getByRole("button", { name: `Verify ${prefix} of ${name}` });
    await verify.click();
    await verify.waitFor({ state: "detached" });
    // Waits for the page's own renewal: what the operator decides shows without a reload.
    await page.getByText("valid", { exact: true }).waitFor();
  }
});

test("a file of allocations verifies what it gives to a member, and names the holder of the rest", async () => {
  const { page, name } = acme;
  // Other numbers in each run.
  const own = `+441612${digits.slice(2)}`;
  const others = `+441312${digits.slice(2)}`;
  await go(operator, "Allocations");
  await operator.getByRole("button", { name: "Import a file" }).first().click();
  const form = operator.getByRole("dialog");
  await form.getByLabel("Name of the file").fill(`Regulator ${run}`);
  const csv = (text: string) => ({ name: "allocations.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
  await operator.locator("input[type=file]").setInputFiles(csv(`prefix,holder\n${own},${name} Ltd\nnone,Other\n`));
  await form.getByRole("button", { name: "Import", exact: true }).click();
  await form.getByRole("alert").getByText(/Row 3, /).waitFor();
  await operator.locator("input[type=file]").setInputFiles(csv(`prefix,holder\n${own},${name} Ltd\n${others},Other Ltd\n`));
  await form.getByRole("button", { name: "Import", exact: true }).click();
  await form.waitFor({ state: "detached" });
  await operator.getByRole("table", { name: "Allocation files" }).getByText(`Regulator ${run}`).waitFor();
  await operator.getByRole("combobox", { name: "Member" }).fill(name);
  await operator.getByRole("option", { name }).click();
  await operator.getByLabel("Names or codes").fill(`${name} ltd`);
  await operator.getByRole("button", { name: "Save the names" }).click();
  await operator.getByText("The names are saved").waitFor();

  await go(page, "Ranges");
  for (const [prefix, shown] of [
    [own, "by the regulator's file"],
    [others, "is given to Other Ltd"],
  ] as const) {
    await page.getByRole("button", { name: "Claim a range" }).first().click();
    const claim = page.getByRole("dialog");
    await claim.getByText(`${name} ltd`).waitFor();
    await claim.getByLabel("Prefix").fill(prefix);
    await claim.getByRole("button", { name: "Claim", exact: true }).click();
    await claim.waitFor({ state: "detached" });
    await page.getByRole("table", { name: "Ranges" }).getByText(shown).waitFor();
  }
});

test("an announcement goes live", async () => {
  await go(globex.page, "Announcements");
  await globex.page.getByRole("button", { name: "Announce a prefix" }).first().click();
  const form = globex.page.getByRole("dialog");
  await form.getByLabel("Prefix").fill(globex.prefix);
  await form.getByRole("checkbox", { name: "ams-1" }).check();
  await form.getByRole("button", { name: "Announce", exact: true }).click();
  await form.waitFor({ state: "detached" });
  await globex.page.getByText(/^live on [1-9]\d* of /).waitFor();
});

test("without an agreement the lookup says so", async () => {
  await lookUp(acme.page, `${globex.prefix}00`);
  expect(await acme.page.getByTestId("summary").innerText()).toMatch(/would be refused/);
  await acme.page.getByRole("link", { name: "About no_agreement" }).waitFor();
});

test("an agreement is proposed, then accepted by the other member", async () => {
  await go(acme.page, "Agreements");
  await acme.page.getByRole("button", { name: "Propose an agreement" }).first().click();
  const form = acme.page.getByRole("dialog");
  await form.getByRole("combobox", { name: "With" }).fill(globex.name);
  await acme.page.getByRole("option", { name: globex.name }).click();
  await form.getByRole("button", { name: "Propose", exact: true }).click();
  await form.waitFor({ state: "detached" });
  await acme.page.getByText(`${globex.display} must answer`).waitFor();

  await go(globex.page, "Agreements");
  await globex.page.getByRole("button", { name: `Accept the proposal of ${acme.name}` }).click();
  await globex.page.getByText("accepted", { exact: true }).waitFor();
});

test("other terms are offered, accepted, and stand in the history with who offered them", async () => {
  const table = (page: Page) => page.getByRole("table", { name: "Agreements" });
  // One that has ended stands beside the new one, and a list may be of before until it is read anew.
  const more = async ({ page }: Provider, state: string, item: string) => {
    const row = table(page).getByRole("row").filter({ has: page.getByText(state, { exact: true }) });
    await row.getByRole("button", { name: "More about the agreement with" }).click();
    await page.getByRole("menuitem", { name: item, exact: true }).click();
  };
  await more(globex, "accepted", "End");
  await globex.page.getByRole("dialog").getByRole("button", { name: "End", exact: true }).click();
  await table(globex.page).getByText("ended", { exact: true }).waitFor();

  await go(acme.page, "Agreements");
  await acme.page.getByRole("button", { name: "Propose an agreement" }).first().click();
  const form = acme.page.getByRole("dialog");
  await form.getByRole("combobox", { name: "With" }).fill(globex.name);
  await acme.page.getByRole("option", { name: globex.name }).click();
  await form.getByRole("button", { name: "Propose", exact: true }).click();
  await form.waitFor({ state: "detached" });

  await go(globex.page, "Overview");
  await go(globex.page, "Agreements");
  await more(globex, "proposed", "Offer other terms");
  const other = globex.page.getByRole("dialog");
  await other.getByLabel("Calls at once").fill("30");
  await other.getByRole("button", { name: "More terms" }).click();
  await other.getByLabel("Days of notice").fill("7");
  await other.getByLabel("Your prefixes").fill(globex.prefix);
  await other.getByRole("button", { name: "Offer", exact: true }).click();
  await other.waitFor({ state: "detached" });
  await table(globex.page).getByText(`${acme.display} must answer`).waitFor();

  await go(acme.page, "Overview");
  await go(acme.page, "Agreements");
  await acme.page.getByRole("button", { name: `Accept the proposal of ${globex.name}` }).click();
  await table(acme.page).getByText("accepted", { exact: true }).waitFor();
  await more(acme, "accepted", "Suspend");
  await table(acme.page).getByText("by you").waitFor();
  await more(acme, "suspended", "Resume");
  await table(acme.page).getByText("accepted", { exact: true }).waitFor();
  await more(acme, "accepted", "History");
  const history = acme.page.getByRole("dialog");
  await history.getByText(`${globex.display} offered other terms`).waitFor();
  await history.getByText("7 days of notice").waitFor();
  await history.getByText(`to ${globex.display}: ${globex.prefix}`).waitFor();
  await acme.page.keyboard.press("Escape");
  await history.waitFor({ state: "detached" });
});

test("the lookup shows the route and hides the other member's endpoint", async () => {
  await expect
    .poll(
      async () => {
        await lookUp(acme.page, `${globex.prefix}00`);
        return await acme.page.getByTestId("summary").innerText();
      },
      { timeout: 30_000, interval: 1000 },
    )
    .toContain(`The call goes to ${globex.name}.`);
  expect(await acme.page.getByRole("main").innerText()).not.toContain(globex.ip);
});

test("the operator sees the same route from any member", async () => {
  await operator.goto(`/lookup?from=${acme.name}&called=${encodeURIComponent(`${globex.prefix}00`)}`);
  await operator.getByTestId("summary").getByText(`The call goes to ${globex.name}.`).waitFor();
});

test("the looking glass shows whose calls a prefix gets, and only to whom it concerns", async () => {
  await lookUp(globex.page, globex.prefix);
  const row = globex.page.getByRole("table", { name: "Announcements" }).getByRole("row", { name: /accepted/ });
  expect(await row.innerText()).toContain(acme.name);
  await operator.goto(`/lookup?called=${encodeURIComponent(globex.prefix)}`);
  await operator.getByRole("table", { name: "Announcements" }).getByText(acme.name).waitFor();
});

test("a CSV file with a bad row shows its line and writes nothing", async () => {
  const { page, prefix } = acme;
  await go(page, "Announcements");
  await upload(page, `prefix,endpoints\n${prefix},ams-1\n${prefix}1,nowhere-1\n`);
  await page.getByRole("button", { name: "Announce 2 rows" }).click();
  await page.getByRole("alert").getByText(/Row 3, /).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Nothing announced yet").waitFor();
});

test("the mended file is announced as a whole", async () => {
  const { page, prefix } = acme;
  await upload(page, `prefix,endpoints\n${prefix},ams-1\n${prefix}1,ams-1\n`);
  await page.getByRole("button", { name: "Announce 2 rows" }).click();
  await page.getByRole("status").getByText("2 added").waitFor();
  await page.getByRole("button", { name: "Close", exact: true }).click();
  expect(await page.getByRole("button", { name: /^Withdraw \+/ }).count()).toBe(2);
});

test("a large file is imported in the background, and the rows that it could not take are a file, too", async () => {
  const { page, prefix } = acme;
  await page.getByRole("button", { name: "Import a large file" }).click();
  const form = page.getByRole("dialog");
  // Two digits more are a whole number of London.
  const rows = Array.from({ length: 99 }, (_, index) => `${prefix}${String(index).padStart(2, "0")},ams-1\n`).join("");
  const file = Buffer.from(`prefix,endpoints\n${rows}${prefix}99,nowhere-1\n`);
  await page.locator("input[type=file][accept*=ndjson]").setInputFiles({ name: "many.csv", mimeType: "text/csv", buffer: file });
  await form.getByText("Leave bad rows out").click();
  await form.getByRole("button", { name: "Import", exact: true }).click();
  await form.waitFor({ state: "detached" });
  const imports = page.getByRole("table", { name: "Imports" });
  await imports.getByText("99 added").waitFor();
  const faults = await imports.getByRole("link", { name: "1, as CSV" }).getAttribute("href");
  expect(await (await page.request.get(faults ?? "")).text()).toContain("nowhere-1");
});

test("a token is shown once", async () => {
  const { page } = acme;
  await go(page, "Tokens");
  await page.getByRole("button", { name: "Make a token" }).first().click();
  await page.getByRole("dialog").getByLabel("Name").fill("route-sync");
  await page.getByRole("button", { name: "Make", exact: true }).click();
  await page.getByText(/^tdm_/).waitFor();
  await page.getByRole("button", { name: "I have copied it" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("cell", { name: "route-sync", exact: true }).waitFor();
  expect(await page.getByText(/tdm_/).count()).toBe(0);
});

test("signing out ends the session", async () => {
  await globex.page.getByRole("button", { name: "Sign out" }).click();
  await globex.page.waitForURL("**/sign-in");
  await globex.page.goto("/calls");
  await globex.page.waitForURL("**/sign-in?next=%2Fcalls");
});

test("no page complained, of the content security policy for instance", () => {
  expect(complaints).toEqual([]);
});

async function lookUp(page: Page, number: string): Promise<void> {
  await go(page, "Lookup");
  await page.getByLabel("Number or prefix").fill(number);
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByRole("heading", { name: "Announced around it" }).waitFor();
}

async function upload(page: Page, csv: string): Promise<void> {
  await page.getByRole("button", { name: "Upload CSV" }).click();
  await page.locator("input[type=file]").setInputFiles({ name: "routes.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
}
