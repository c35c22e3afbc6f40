import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { guardProcess, releaseProcess } from '../kit/processes.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What `npm run build:dashboard` makes. */
export const DASHBOARD_DIR = join(ROOT, 'dist', 'dashboard');

/** Screenshots for people to look at; no test reads them. */
const SCREENSHOTS = join(ROOT, '.cache', 'dashboard-screenshots');

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** One browser for all tests of a file. */
export interface Stage {
  /** A browser window of its own, with nothing in common with others. `first` is a script that runs before the page's own. */
  open(url: string, options?: BrowserContextOptions & { first?: string }): Promise<Page>;
  /** Closes all windows, and fails when a page has broken its content policy, thrown, or shown a key in an address. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export const startStage = async (executablePath: string): Promise<Stage> => {
  if (!existsSync(join(DASHBOARD_DIR, 'index.html'))) throw new Error('The dashboard is not built: npm run build:dashboard');
  // No sandbox: as root there is none, and the only pages it opens are ours.
  const server = await chromium.launchServer({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
  const { pid } = server.process();
  if (pid !== undefined) guardProcess(pid);
  const browser: Browser = await chromium.connect(server.wsEndpoint());
  const contexts: BrowserContext[] = [];
  const faults: string[] = [];
  return {
    async open(url, { first, ...options } = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
      contexts.push(context);
      if (first !== undefined) await context.addInitScript(first);
      const page = await context.newPage();
      page.setDefaultTimeout(60_000);
      const noteAddress = (address: string): void => {
        if (/\bsb_/.test(address)) faults.push(`A key stands in the address ${address}`);
      };
      page.on('request', (request) => noteAddress(request.url()));
      page.on('websocket', (socket) => noteAddress(socket.url()));
      page.on('framenavigated', (frame) => noteAddress(frame.url()));
      page.on('pageerror', (error) => faults.push(String(error)));
      page.on('console', (message) => {
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource') && !message.text().startsWith('WebSocket connection')) faults.push(message.text());
      });
      await page.goto(`${url}/dashboard`);
      return page;
    },
    async clear() {
      await Promise.all(contexts.splice(0).map((context) => context.close()));
      expect(faults.splice(0)).toEqual([]);
    },
    async stop() {
      await browser.close();
      await server.close();
      if (pid !== undefined) releaseProcess(pid);
    },
  };
};

export const signIn = async (page: Page, key: string): Promise<void> => {
  await page.getByLabel('API key').fill(key);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Servers' }).waitFor();
};

export const openInstance = async (page: Page, name: string): Promise<void> => {
  await page.getByRole('table').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { name, level: 1 }).waitFor();
};

interface Violation {
  id: string;
  impact: string | null;
  nodes: { html: string; failureSummary: string }[];
}

/** Fails for what axe calls serious or critical. */
export const expectAccessible = async (page: Page, what: string): Promise<void> => {
  await page.evaluate(AXE);
  const violations = await page.evaluate<Violation[]>('axe.run().then(({ violations }) => violations)');
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`), what).toEqual([]);
};

export const shoot = async (page: Page, name: string): Promise<void> => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), animations: 'disabled' });
};
