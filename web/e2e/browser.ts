// A browser on the portal of a running hub, named by TANDEM_URL. CHROMIUM names the program where it is elsewhere.
import { chromium, type Browser, type Page } from "playwright-core";

export const HUB = (process.env.TANDEM_URL ?? "http://127.0.0.1:8080").replace(/\/$/, "");

export const OPERATOR = {
  email: process.env.TANDEM_OPERATOR_EMAIL ?? "operator@example.net",
  password: process.env.TANDEM_OPERATOR_PASSWORD ?? "",
};

/** How long a page may take to show what it should; the machine of a test may be busy. */
const PATIENCE_MS = 20_000;

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
  });
}

/** A page with cookies of its own; what it complains about is added to `complaints`. */
export async function visit(browser: Browser, complaints: string[]): Promise<Page> {
  // Without motion nothing moves from under a click.
  const context = await browser.newContext({ baseURL: HUB, viewport: { width: 1360, height: 900 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // The browser itself reports each refused request; refusals are what some tests provoke.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  return page;
}

export async function signIn(page: Page, { email, password }: { email: string; password: string }): Promise<void> {
  await page.goto("/sign-in");
  await page.getByLabel("E-mail").fill(email);
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/overview");
}

/** Opens a page by its entry in the rail. */
export async function go(page: Page, entry: string): Promise<void> {
  await page.getByRole("navigation").getByRole("link", { name: entry, exact: true }).click();
  await page.getByRole("heading", { level: 1 }).waitFor();
}
