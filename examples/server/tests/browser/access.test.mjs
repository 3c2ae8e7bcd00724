import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

/** Presses Tab until the element has the focus; fails if it can't be reached. */
async function tabTo(page, locator, key = 'Tab') {
  for (let presses = 0; presses < 40; presses += 1) {
    if (await locator.evaluate((element) => element === document.activeElement).catch(() => false)) return;
    await page.keyboard.press(key);
  }
  assert.fail(`not reached by ${key}: ${locator}`);
}

const focusIsVisible = (page) =>
  page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1;
  });

test('from registering to sending without a mouse', async () => {
  const grace = await world.person('Grace Hopper');
  const gracesScreen = await world.open(grace);
  const screen = await world.visit('keyboard');
  const { page } = screen;
  const { keyboard } = page;
  const username = `keys-${randomUUID().slice(0, 8)}`;

  await tabTo(page, screen.button('Create an account'));
  assert.ok(await focusIsVisible(page));
  await keyboard.press('Enter');
  for (const [label, value] of [['Username', username], ['Email', `${username}@example.org`], ['Display name', 'Katherine Johnson'], ['Password', 'correct horse battery']]) {
    await tabTo(page, page.getByLabel(label));
    await keyboard.type(value);
  }
  await keyboard.press('Enter');
  await screen.chats.waitFor();

  await tabTo(page, page.getByRole('searchbox', { name: 'Find people and chats' }));
  await keyboard.type(grace.username);
  const found = page.getByRole('list', { name: 'People' }).getByRole('button', { name: 'Grace Hopper' });
  await found.waitFor();
  await keyboard.press('ArrowDown');
  assert.ok(await found.evaluate((element) => element === document.activeElement));
  assert.ok(await focusIsVisible(page));
  await keyboard.press('Enter');
  await screen.input.waitFor();
  await tabTo(page, screen.input);
  await keyboard.type('First line');
  await keyboard.press('Shift+Enter');
  await keyboard.type('second line');
  await keyboard.press('Enter');
  await screen.showsExactly(['First line\nsecond line']);
  await gracesScreen.openChat('Katherine Johnson');
  await gracesScreen.showsExactly(['First line\nsecond line']);

  await keyboard.type('Another one');
  await keyboard.press('Enter');
  await screen.showsExactly(['First line\nsecond line', 'Another one']);
  await tabTo(page, screen.message('Another one'), 'Shift+Tab');
  await keyboard.press('ArrowUp');
  assert.match(await page.evaluate(() => document.activeElement.textContent), /First line/);
  assert.ok(await focusIsVisible(page) || (await page.evaluate(() => getComputedStyle(document.activeElement.querySelector('.bubble')).outlineStyle)) !== 'none');
  await keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'Reply' }).waitFor();
  await keyboard.press('Escape');
  await page.getByRole('menuitem', { name: 'Reply' }).waitFor({ state: 'detached' }).catch(() => {});
  assert.ok(await page.getByRole('heading', { level: 2, name: 'Grace Hopper' }).isVisible(), 'Escape closes the menu, not the chat');

  await tabTo(page, screen.button('Chat details'), 'Shift+Tab');
  await keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'Chat details' }).waitFor();
  await keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await eventually('the focus is back on what opened the dialog', async () =>
    assert.ok(await screen.button('Chat details').evaluate((element) => element === document.activeElement)));

  await keyboard.press('Escape');
  await page.getByRole('heading', { name: 'No chat open' }).waitFor();
  assert.ok(await screen.chatLink('Grace Hopper').evaluate((element) => element === document.activeElement));
});

test('the chat list is walked with the arrow keys', async () => {
  const [ada, grace, alan] = await Promise.all(['Ada Lovelace', 'Grace Hopper', 'Alan Turing'].map(world.person));
  await grace.send(await grace.openDirect(ada), 'older');
  await alan.send(await alan.openDirect(ada), 'newer');
  const screen = await world.open(ada);
  await screen.chatLink('Grace Hopper').waitFor();
  await tabTo(screen.page, screen.chatLink('Alan Turing'));
  await screen.page.keyboard.press('ArrowDown');
  assert.ok(await screen.chatLink('Grace Hopper').evaluate((element) => element === document.activeElement));
  await screen.page.keyboard.press('Enter');
  await screen.sees('older');
});

for (const width of [360, 375]) {
  test(`at ${width} pixels the list and the chat are two views`, async () => {
    const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
    const group = await ada.createGroup('A group with a title that is rather long for a phone', [grace]);
    await ada.send(group, `A word without an end: ${'x'.repeat(300)}`);
    const screen = await world.open(grace, { viewport: { width, height: 740 }, hasTouch: true, isMobile: true });
    const { page } = screen;
    const fits = async (where) => {
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${where} is ${overflow} pixels too wide`);
    };

    await screen.chatLink('A group').waitFor();
    assert.equal(await page.getByRole('main').isVisible(), false);
    await fits('the list');

    await screen.chatLink('A group').tap();
    await screen.input.waitFor();
    assert.equal(await screen.chats.isVisible(), false);
    await fits('the chat');
    await screen.input.fill('From a phone');
    await screen.button('Send').tap();
    await screen.hasStatus('From a phone', 'sent');

    await screen.button('Members').tap();
    await page.getByRole('dialog', { name: 'Members' }).getByText('Ada Lovelace').waitFor();
    await fits('the panel');
    await screen.button('Close').tap();
    await page.getByRole('link', { name: 'Back to chats' }).tap();
    await screen.chatLink('A group').waitFor();
    assert.equal(await page.getByRole('main').isVisible(), false);
  });
}

test('the page asks for nothing beyond its own server, and says so in its policy', async () => {
  const requests = [];
  const screen = await world.visit('policy');
  screen.page.on('request', (request) => requests.push(request.url()));
  const response = await screen.page.reload();
  const policy = response.headers()['content-security-policy'];
  for (const rule of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(rule), policy);
  await screen.button('Log in').waitFor();
  assert.ok(requests.length > 0);
  assert.deepEqual(requests.filter((url) => !url.startsWith(screen.proxy.url)), []);
});

test('what changes is told to those who do not see it', async () => {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  await ada.send(await ada.openDirect(grace), 'Hello');
  const screen = await world.open(grace);
  await screen.openChat('Ada Lovelace');
  assert.equal(await screen.log.getAttribute('aria-live'), 'polite');
  assert.equal(await screen.banner.getAttribute('role'), 'status');
  assert.equal(await screen.page.getByRole('main').count(), 1);
  assert.match(await screen.message('Hello').textContent(), /Ada Lovelace/);
});
