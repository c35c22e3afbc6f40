import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Instance } from '@snapback/sdk';
import { infoOf, populate, register, saveSlowly } from '../e2e/scene.js';
import { digest } from '../kit/digest.js';
import { startProxy } from '../kit/proxy.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { sleep } from '../kit/wait.js';
import { DASHBOARD_DIR, openInstance, signIn, startStage, type Stage } from './stage.js';

const browser = inject('chromium');

const KEYS = 4_000;

/** So that a backup takes some seconds, at microseconds a key. */
const SLOWLY = 700;

describe.skipIf(browser === null)('the dashboard', () => {
  let stage: Stage;
  let service: TestService;
  let redis: RedisServer;
  let instance: Instance;

  beforeAll(async () => {
    [service, redis, stage] = await Promise.all([startService({ dashboardDir: DASHBOARD_DIR }), startRedis(), startStage(browser ?? '')]);
    await populate(redis, KEYS, 200);
    instance = await register(service, 'orders', redis);
  });
  afterEach(async () => {
    await saveSlowly(redis, 0);
    await stage.clear();
  });
  afterAll(async () => {
    await stage?.stop();
    await Promise.all([service?.stop(), redis?.stop()]);
  });

  const backUpNow = async (page: Page, name: string): Promise<void> => {
    await page.getByRole('button', { name: 'Back up now' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name of the backup').fill(name);
    await dialog.getByRole('button', { name: 'Back up now' }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  /** A name that no earlier attempt of the test has used. */
  let used = 0;
  const fresh = (name: string): string => `${name}, ${String((used += 1))}`;
  const row = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });
  const card = (page: Page, name: string) => page.getByRole('region', { name: 'Running jobs' }).getByRole('listitem').filter({ hasText: name });

  it('takes a key, and keeps it nowhere unasked', async () => {
    const page = await stage.open(service.url);
    await page.getByLabel('API key').fill('sb_nobody');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect.poll(async () => page.getByRole('alert').textContent()).toContain('UNAUTHENTICATED');
    const kept = () => page.evaluate('({ local: localStorage.length, session: sessionStorage.length, url: location.href, cookie: document.cookie })');

    await signIn(page, service.key);
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await kept()).toEqual({ local: 0, session: 0, url: `${service.url}/dashboard`, cookie: '' });
    await page.reload();
    await page.getByLabel('API key').waitFor();

    await page.getByLabel('Stay signed in').check();
    await signIn(page, service.key);
    await openInstance(page, 'orders');
    await page.reload();
    await page.getByRole('heading', { name: 'orders' }).waitFor();
    expect(await kept()).toMatchObject({ local: 0, session: 1 });
    expect(page.url()).not.toContain(service.key);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('API key').waitFor();
    expect(await kept()).toMatchObject({ local: 0, session: 0 });
  });

  it('backs up now: the bar moves to done, and the file that is downloaded is the backup', async () => {
    const name = fresh('before the migration');
    await saveSlowly(redis, SLOWLY);
    const page = await stage.open(service.url, { acceptDownloads: true });
    await signIn(page, service.key);
    await openInstance(page, 'orders');
    await backUpNow(page, name);
    const bar = card(page, name).getByRole('progressbar');
    await bar.waitFor();
    const values = new Set<number>();
    let figures = '';
    await expect.poll(async () => {
      figures += `${(await card(page, name).locator('.figures').textContent()) ?? ''}\n`;
      const value = await bar.evaluate((element) => Number((element as unknown as { position: number }).position));
      if (value > 0 && value < 1) values.add(value);
      return value;
    }, { interval: 50 }).toBe(1);
    expect(values.size).toBeGreaterThan(1);
    // How fast it goes, and how long it still will.
    expect(figures).toMatch(/\d [KM]?i?B\/s/);
    expect(figures).toMatch(/\d (s|min) left/);
    await card(page, name).getByText('Done', { exact: true }).waitFor();
    await row(page, name).getByText('Available').waitFor();

    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: `Download ${name}` }).click()]);
    const backup = await service.sdk.backups.list({ nameContains: name }).first();
    const file = join(service.dataDir, 'downloaded.rdb');
    await download.saveAs(file);
    const hash = createHash('sha256');
    for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
    expect(hash.digest('hex')).toBe(backup?.sha256);
    expect(download.suggestedFilename()).toMatch(/\.rdb$/);
    // The last of it goes by itself.
    await card(page, name).waitFor({ state: 'detached' });
  });

  it('changes when automatic backups run, and shows at once when that will be', async () => {
    await service.sdk.policies.set({ instanceId: instance.id, weekdays: ['MONDAY'], startTime: '01:00', timeZone: 'UTC' });
    const page = await stage.open(service.url);
    await signIn(page, service.key);
    await openInstance(page, 'orders');
    await page.getByRole('tab', { name: 'Backup settings' }).click();
    await page.getByLabel('Window opens at').fill('04:30');
    await page.getByLabel('Time zone').fill('Nowhere/Land');
    const save = page.getByRole('button', { name: 'Save' });
    await save.click();
    await page.locator('.wrong').filter({ hasText: /zone/i }).waitFor();

    await page.getByLabel('Time zone').fill('Asia/Shanghai');
    const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
    for (const day of days) await page.getByRole('checkbox', { name: day }).uncheck();
    await page.getByText('At least one day must remain.').waitFor();
    expect(await save.isDisabled()).toBe(true);
    await page.getByRole('checkbox', { name: 'Wednesday' }).check();
    await save.click();
    await page.getByText('Backup settings of orders saved').waitFor();
    expect(await service.sdk.policies.get(instance)).toMatchObject({ weekdays: ['WEDNESDAY'], startTime: '04:30', timeZone: 'Asia/Shanghai' });
    const runs = page.getByRole('region', { name: 'Next runs' }).getByRole('listitem');
    await expect.poll(async () => (await runs.allTextContents()).every((text) => text.startsWith('Wed'))).toBe(true);
    expect(await runs.count()).toBe(7);
  });

  it('lists servers with their state, last backup and next run, and shows what others change, without a reload', async () => {
    const name = fresh('seen in the list');
    await service.sdk.policies.set({ instanceId: instance.id, enabled: true });
    await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: instance.id, name }));
    const [page, settings] = await Promise.all([stage.open(service.url), stage.open(service.url)]);
    await Promise.all([signIn(page, service.key), signIn(settings, service.key)]);
    await openInstance(settings, 'orders');
    await settings.getByRole('tab', { name: 'Backup settings' }).click();
    await expect.poll(() => settings.getByRole('checkbox', { name: 'Automatic backups' }).isChecked()).toBe(true);
    const cells = row(page, 'orders').getByRole('cell');
    await expect.poll(async () => (await cells.allTextContents()).slice(0, 3)).toEqual([
      'Protected', expect.stringMatching(new RegExp(`^(just now|\\d+ s ago)${name}$`)), expect.stringMatching(/^in \d+ (min|h|d)(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/),
    ]);
    // An age grows by itself.
    await expect.poll(async () => (await cells.allTextContents())[1]).toMatch(/^[5-9] s ago|^\d\d s ago/);
    for (const each of [page, settings]) await each.evaluate('globalThis.sameDocument = true');

    const other = await startRedis();
    try {
      await service.sdk.policies.set({ instanceId: instance.id, enabled: false });
      const newcomer = await register(service, fresh('registered elsewhere'), other);
      await Promise.all([
        expect.poll(async () => (await cells.allTextContents())[2]).toBe('Off'),
        page.getByRole('link', { name: newcomer.name }).waitFor({ timeout: 60_000 }),
        settings.getByText('Automatic backups are off.').waitFor({ timeout: 60_000 }),
      ]);
      expect(await settings.getByRole('checkbox', { name: 'Automatic backups' }).isChecked()).toBe(false);
      await service.sdk.instances.remove(newcomer);
      await page.getByRole('link', { name: newcomer.name }).waitFor({ state: 'detached', timeout: 60_000 });
    } finally {
      await other.stop();
    }
    for (const each of [page, settings]) expect(await each.evaluate('globalThis.sameDocument')).toBe(true);
  });

  it('is used by the keyboard alone: signed in, backed up under a name, cancelled', async () => {
    const name = fresh('by keyboard');
    await redis.cli('FLUSHALL');
    await populate(redis, KEYS, 200);
    await saveSlowly(redis, 3_000);
    const page = await stage.open(service.url);
    await page.getByLabel('API key').waitFor();
    /** Goes on by Tab, and Shift+Tab as well, until that has the focus. */
    const tabTo = async (what: RegExp): Promise<void> => {
      for (let steps = 0; steps < 60; steps += 1) {
        const focused = await page.evaluate<string>('(({ activeElement: e }) => [e.getAttribute("aria-label"), e.labels?.[0]?.textContent, e.textContent].find((text) => text) ?? "")(document)');
        if (what.test(focused)) return;
        await page.keyboard.press('Tab');
      }
      throw new Error(`No Tab leads to ${String(what)}`);
    };
    await tabTo(/^API key/);
    await page.keyboard.type(service.key);
    await page.keyboard.press('Enter');
    await page.getByRole('table').getByRole('link', { name: 'orders', exact: true }).waitFor();
    await tabTo(/^orders$/);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'orders', level: 1 }).waitFor();
    await tabTo(/^Back up now$/);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    // A name is asked for: without one nothing begins.
    await tabTo(/^Name of the backup/);
    await page.keyboard.press('Enter');
    expect(await page.getByRole('dialog').count()).toBe(1);
    await page.keyboard.type(name);
    await page.keyboard.press('Enter');
    await card(page, name).waitFor();
    await tabTo(/^Cancel: /);
    await page.keyboard.press('Enter');
    await card(page, name).getByText('Cancelled', { exact: true }).waitFor();
  });

  it('restores after its plan was read and the name typed, and undoes it', async () => {
    const name = fresh('good state');
    await redis.cli('FLUSHALL');
    await populate(redis, KEYS, 200);
    const before = await digest(redis);
    await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: instance.id, name }));
    await redis.cli('FLUSHALL');
    await redis.cli('SET', 'only', 'this');
    const changed = await digest(redis);
    const page = await stage.open(service.url);
    await signIn(page, service.key);
    await openInstance(page, 'orders');
    await page.getByRole('button', { name: `Restore ${name}` }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Now in orders').waitFor();
    expect(await dialog.textContent()).toMatch(/Now in orders1 key.*After the restore4,000 keys/);
    for (const box of await dialog.locator('.points').getByRole('checkbox').all()) await box.check();
    const go = dialog.getByRole('button', { name: 'Restore', exact: true });
    await dialog.getByLabel('Type orders to confirm').fill('order');
    expect(await go.isDisabled()).toBe(true);
    await dialog.getByLabel('Type orders to confirm').fill('orders');
    await go.click();
    await card(page, `Restore of “${name}”`).getByText('Done', { exact: true }).waitFor({ timeout: 90_000 });
    expect(await digest(redis)).toBe(before);

    await page.getByRole('tab', { name: 'Restore history' }).click();
    await row(page, name).getByText('Data of the backup').waitFor();
    await page.getByRole('button', { name: `Undo the restore of ${name}` }).click();
    await dialog.getByLabel('Type orders to confirm').fill('orders');
    for (const box of await dialog.locator('.points').getByRole('checkbox').all()) await box.check();
    await dialog.getByRole('button', { name: 'Undo', exact: true }).click();
    await expect.poll(() => digest(redis)).toBe(changed);
    await expect.poll(() => page.getByRole('row').count()).toBeGreaterThanOrEqual(3);
    expect(await infoOf(redis)).toMatchObject({ role: 'master' });
  });

  it('shows the same job in two browsers, and one cancels what the other began', async () => {
    const name = fresh('seen twice');
    await redis.cli('FLUSHALL');
    await populate(redis, KEYS, 200);
    await saveSlowly(redis, 3_000);
    const [one, other] = await Promise.all([stage.open(service.url), stage.open(service.url)]);
    await Promise.all([signIn(one, service.key), signIn(other, service.key)]);
    await openInstance(one, 'orders');
    await backUpNow(one, name);
    await other.getByRole('progressbar').first().waitFor();
    const id = await card(one, name).getAttribute('data-job');
    expect(id).toMatch(/^job_/);
    expect(await card(other, name).getAttribute('data-job')).toBe(id);
    await card(other, name).getByRole('button', { name: 'Cancel' }).click();
    await card(one, name).getByText('Cancelled', { exact: true }).waitFor();
    // What was cancelled leaves nothing behind.
    await row(one, name).waitFor({ state: 'detached' });
    expect(await service.sdk.jobs.get(id ?? '')).toMatchObject({ conclusion: 'CANCELLED' });
  });

  it.each(['cut', 'silence'] as const)('says that the connection is lost (%s), and ten seconds later shows what happened meanwhile', async (how) => {
    const proxy = await startProxy(Number(new URL(service.url).port));
    try {
      const page = await stage.open(`http://127.0.0.1:${String(proxy.port)}`);
      await signIn(page, service.key);
      await openInstance(page, 'orders');
      await page.getByText('Live', { exact: true }).waitFor();
      const name = fresh(`while ${how}`);
      await saveSlowly(redis, SLOWLY);
      await backUpNow(page, name);
      await card(page, name).waitFor();
      proxy[how]();
      await Promise.all([page.getByText('Connection lost').waitFor(), sleep(10_000)]);
      await service.sdk.backups.wait((await service.sdk.backups.list({ nameContains: name }).first())?.id ?? '');
      await expect.poll(() => row(page, name).count()).toBeLessThan(2);
      proxy.mend();
      await page.getByText('Live', { exact: true }).waitFor({ timeout: 90_000 });
      await row(page, name).getByText('Available').waitFor({ timeout: 90_000 });
    } finally {
      await proxy.stop();
    }
  });

  it('is as live where no WebSocket can be had', async () => {
    const page = await stage.open(service.url, { first: 'delete globalThis.WebSocket' });
    await signIn(page, service.key);
    await page.getByText('Live', { exact: true }).waitFor();
    await saveSlowly(redis, SLOWLY);
    const name = fresh('over a stream');
    const started = await service.sdk.backups.create({ instanceId: instance.id, name });
    await card(page, name).getByText('Done', { exact: true }).waitFor({ timeout: 90_000 });
    await service.sdk.backups.wait(started);
  });

  it('offers a VIEWER nothing that it may not do, and lets a revoked key go', async () => {
    const seen = fresh('to be seen');
    const { apiKey, token } = await service.sdk.apiKeys.create({ name: 'wall display', role: 'VIEWER' });
    await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: instance.id, name: seen }));
    const page = await stage.open(service.url);
    await signIn(page, token);
    expect(await page.getByRole('button', { name: 'Register a server' }).count()).toBe(0);
    await openInstance(page, 'orders');
    await row(page, seen).getByText('Available').waitFor();
    for (const name of [/Back up now/, /^Download/, /^Restore/]) expect(await page.getByRole('button', { name }).count()).toBe(0);

    // By the keyboard alone: one stop for the tabs, arrows between them.
    await page.getByRole('tab', { name: 'Backups' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.locator('[role=tab]:focus', { hasText: 'Backup settings' }).waitFor();
    await page.getByLabel('Time zone').waitFor();
    expect(await page.getByLabel('Time zone').isDisabled()).toBe(true);
    expect(await page.getByRole('button', { name: 'Save' }).count()).toBe(0);

    await service.sdk.apiKeys.revoke(apiKey);
    await page.getByText('does not accept this key any more').waitFor();
    await page.getByLabel('API key').waitFor();
  });

  it('turns the pages of a long list', async () => {
    const small = await startRedis();
    try {
      const many = await register(service, fresh('many'), small);
      for (let at = 1; at <= 26; at += 1) await service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: many.id, name: `number ${String(at)}` }));
      const page = await stage.open(service.url);
      await signIn(page, service.key);
      await openInstance(page, many.name);
      await page.getByText('Page 1 · 26 backups').waitFor();
      expect(await page.getByRole('row').count()).toBe(26);
      await page.getByRole('button', { name: 'Older' }).click();
      await page.getByText('Page 2 · 26 backups').waitFor();
      await row(page, 'number 1').waitFor();
      expect(await page.getByRole('row').count()).toBe(2);
      await page.getByRole('button', { name: 'Newer' }).click();
      await row(page, 'number 26').waitFor();
    } finally {
      await small.stop();
    }
  });

  it('closes a dialog by Escape, and gives the focus back', async () => {
    const page = await stage.open(service.url);
    await signIn(page, service.key);
    await openInstance(page, 'orders');
    await page.getByRole('button', { name: 'Back up now' }).press('Enter');
    await page.locator('dialog input:focus').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.locator('button:focus', { hasText: 'Back up now' }).waitFor();
  });
});
