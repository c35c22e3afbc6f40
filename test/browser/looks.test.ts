import { type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Instance } from '@snapback/sdk';
import { backUp, caught, populate, register, saveSlowly, startRestore } from '../e2e/scene.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { DASHBOARD_DIR, expectAccessible, openInstance, shoot, signIn, startStage, type Stage } from './stage.js';

const browser = inject('chromium');

const LOOKS: Readonly<Record<string, BrowserContextOptions>> = {
  desktop: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

/** Every page in every look: no serious violation of accessibility, nothing wider than the window, and a screenshot for people. */
describe.skipIf(browser === null)('every page', () => {
  let stage: Stage;
  let service: TestService;
  const servers: RedisServer[] = [];
  let orders: Instance;

  beforeAll(async () => {
    [service, stage] = await Promise.all([startService({ dashboardDir: DASHBOARD_DIR }), startStage(browser ?? '')]);
    servers.push(...(await Promise.all([startRedis(), startRedis(), startRedis()])));
    const [one, two, three] = servers as [RedisServer, RedisServer, RedisServer];
    await populate(one, 6_000, 400);
    await populate(two, 300, 50);
    orders = await register(service, 'orders-cache', one);
    await register(service, 'sessions', two);
    const quiet = await register(service, 'a-server-with-a-long-name-in-frankfurt-am-main-rack-12', three);
    await service.sdk.policies.set({ instanceId: quiet.id, enabled: false });
    const backup = await backUp(service, orders.id, 'before the migration of the billing tables');
    await backUp(service, orders.id, 'nightly');
    await service.sdk.restores.wait(await startRestore(service, backup.id, orders, { safetyBackup: true }));
    const { job } = await service.sdk.backups.create({ instanceId: orders.id, name: 'given up' });
    await service.sdk.jobs.cancel(job);
    await caught(service.sdk.jobs.wait(job));
  });
  afterEach(() => stage.clear());
  afterAll(async () => {
    await stage?.stop();
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  describe.each(Object.keys(LOOKS))('on %s', (look) => {
    const check = async (page: Page, name: string): Promise<void> => {
      await shoot(page, `${look}-${name}`);
      await expectAccessible(page, `${name} on ${look}`);
      // A phone's own measure of its window grows with what does not fit.
      expect(await page.evaluate<number>('document.documentElement.scrollWidth'), `${name} on ${look} is too wide`).toBeLessThanOrEqual(page.viewportSize()?.width ?? 0);
    };

    it('is accessible, and fits', async () => {
      const page = await stage.open(service.url, LOOKS[look]);
      await page.getByLabel('API key').waitFor();
      await check(page, '1-sign-in');
      await signIn(page, service.key);
      await page.getByRole('table').getByRole('link', { name: 'orders-cache' }).waitFor();
      await saveSlowly(servers[0] as RedisServer, 1_500);
      const { job } = await service.sdk.backups.create({ instanceId: orders.id, name: `running on ${look}` });
      await page.getByRole('region', { name: 'Running jobs' }).getByText(/\/s/).waitFor();
      await check(page, '2-servers');
      await openInstance(page, 'orders-cache');
      await page.getByRole('table', { name: 'Backups of orders-cache' }).waitFor();
      await check(page, '3-backups');
      await service.sdk.jobs.cancel(job);
      await caught(service.sdk.jobs.wait(job));

      await page.getByRole('button', { name: 'nightly', exact: true }).click();
      await page.getByRole('dialog').waitFor();
      await check(page, '4-backup');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Restore nightly' }).click();
      await page.getByLabel('Type orders-cache to confirm').waitFor();
      await check(page, '5-restore');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Back up now' }).click();
      await page.getByLabel('Name of the backup').waitFor();
      await check(page, '6-back-up-now');
      await page.keyboard.press('Escape');
      await page.getByRole('tab', { name: 'Backup settings' }).click();
      await page.getByRole('heading', { name: 'Next runs' }).waitFor();
      await check(page, '7-settings');
      await page.getByRole('tab', { name: 'Restore history' }).click();
      await page.getByText('Data of the backup').first().waitFor();
      await check(page, '8-restores');
      await page.getByRole('tab', { name: 'Jobs' }).click();
      await page.getByRole('table', { name: 'Jobs' }).waitFor();
      await check(page, '9-jobs');
      await page.getByRole('link', { name: 'Activity' }).click();
      await page.getByRole('table', { name: 'Jobs' }).waitFor();
      await check(page, '10-activity');
      await page.getByRole('link', { name: 'Servers' }).first().click();
      await page.getByRole('button', { name: 'Register a server' }).click();
      await page.getByLabel('Host').waitFor();
      await check(page, '11-register');
      await page.getByRole('button', { name: 'Close' }).click();
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    });
  });

  it('shows a newcomer where to begin', async () => {
    const project = await service.sdk.projects.create({ name: 'a new team' });
    const { token } = await service.sdk.apiKeys.create({ name: 'newcomer', role: 'ADMIN', projectId: project.id });
    const page = await stage.open(service.url);
    await signIn(page, token);
    await page.getByRole('heading', { name: 'No server is protected yet' }).waitFor();
    await shoot(page, 'desktop-12-empty');
    await expectAccessible(page, 'an empty project');
    await page.getByRole('button', { name: 'Register a server' }).click();
    await page.getByLabel('Name').fill('mine');
    await page.getByLabel('Host').fill('127.0.0.1');
    await page.getByLabel('Port').fill(String(servers[1]?.port));
    await page.getByRole('dialog').getByRole('button', { name: 'Register' }).click();
    await page.getByRole('heading', { name: 'mine' }).waitFor();
    await page.getByRole('heading', { name: 'No backup yet' }).waitFor();
    await shoot(page, 'desktop-13-no-backup');
  });
});
