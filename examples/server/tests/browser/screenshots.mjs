import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchBrowser } from './support/browser.mjs';
import { startProxy } from './support/proxy.mjs';
import { registerPerson } from './support/rest.mjs';
import { Screen } from './support/screen.mjs';
import { startServer } from './support/server.mjs';

const folder = process.argv[2];
if (!folder) throw new Error('usage: node screenshots.mjs <folder>');

const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 375, height: 812 } };
const SCHEMES = ['light', 'dark'];

await mkdir(folder, { recursive: true });
const KEY = 'operators-know-this-key';
const server = await startServer({ MESSENGER_OPERATOR_KEY: KEY });
if (process.env.MESSENGER_TEST_JOBS) await server.runOnStore(process.env.MESSENGER_TEST_JOBS);
const browser = await launchBrowser();
const scene = await setScene();
for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of SCHEMES) await takeAll(`${size}-${colorScheme}`, { viewport, colorScheme });
}
await browser.close();
await server.stop();
await server.remove();

async function setScene() {
  const person = (name) => registerPerson(server.url, name);
  const [ada, grace, alan, edsger] = await Promise.all(['Ada Lovelace', 'Grace Hopper', 'Alan Turing', 'Edsger Dijkstra'].map(person));

  const direct = await ada.openDirect(grace);
  await grace.send(direct, 'Did you see the new release notes?');
  const notes = await ada.send(direct, 'Reading them now. The part about reconnecting is good: https://example.org/notes');
  await ada.send(direct, 'One question, though: does the client keep what I wrote while it was offline?');
  await grace.send(direct, 'It does. Every message has an id of its own, so sending it twice stores it once.', { replyTo: notes.id });
  const typo = await grace.send(direct, 'I tried it on the tarin.');
  await grace.api('PATCH', `/chats/${direct.id}/messages/${typo.id}`, { body: 'I tried it on the train, in and out of tunnels. Nothing was lost.' });
  const slip = await ada.send(direct, 'wrong window');
  await ada.api('DELETE', `/chats/${direct.id}/messages/${slip.id}`);
  const last = await ada.send(direct, 'Lovely. Then let’s ship it on Thursday');
  await grace.api('PUT', `/chats/${direct.id}/read`, { seq: last.seq });

  const quiet = await edsger.openDirect(ada);
  await edsger.send(quiet, 'Simplicity is a prerequisite for reliability.');

  const group = await ada.createGroup('Analytical Engine', [grace, alan]);
  await ada.send(group, 'Welcome! This is the place for plans.');
  await alan.send(group, 'Can it think, though?');
  await alan.send(group, 'Asking for a friend.');
  await grace.send(group, 'It can at least count: there is no message twice in here.');
  await ada.api('PUT', `/chats/${group.id}/members/${grace.id}/role`, { role: 'admin' });
  await ada.send(group, 'Agenda for tomorrow:\n1. store\n2. hub\n3. page');
  await grace.send(group, 'I’ll bring the slides.');
  await alan.send(group, 'And I the cake.');
  return { ada, grace };
}

async function takeAll(suffix, options) {
  const shoot = (page, name) => page.screenshot({ path: join(folder, `${name}-${suffix}.png`), animations: 'disabled' });
  const open = async (person) => {
    const proxy = await startProxy(server.port);
    const context = await browser.newContext({ ...options, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(proxy.url);
    const screen = Object.assign(new Screen(page), { proxy, context });
    if (person) await screen.logIn(person);
    return screen;
  };
  const close = async ({ context, proxy }) => {
    await context.close();
    await proxy.close();
  };

  const visitor = await open();
  await visitor.button('Log in').waitFor();
  await shoot(visitor.page, 'log-in');
  await visitor.register({ username: 'a b', email: 'nowhere', displayName: '', password: 'short' });
  await visitor.page.locator('[aria-invalid]').first().waitFor();
  await shoot(visitor.page, 'register-errors');
  await close(visitor);

  const operator = await open();
  await operator.page.goto(`${operator.proxy.url}/ops`);
  await operator.page.getByLabel("The operator's key").waitFor();
  await shoot(operator.page, 'ops-key');
  await operator.page.getByLabel("The operator's key").fill(KEY);
  await operator.button('Show').click();
  await operator.page.locator('#counts table').waitFor();
  await operator.page.screenshot({ path: join(folder, `ops-${suffix}.png`), animations: 'disabled', fullPage: true });
  await close(operator);

  const grace = await open(scene.grace);
  const ada = await open(scene.ada);
  const { page } = ada;
  await ada.chatLink('Analytical Engine').waitFor();
  await shoot(page, 'chats');
  await ada.openChat('Grace Hopper');
  await ada.sees('This message was deleted');
  await page.locator('.subtitle', { hasText: 'Online' }).waitFor();
  await shoot(page, 'direct');
  await page.goto(`${ada.proxy.url}/#/`);
  await ada.openChat('Analytical Engine');
  await ada.sees('And I the cake.');
  await shoot(page, 'group');
  await ada.button('Members').click();
  await page.getByRole('button', { name: 'Remove Alan Turing' }).waitFor();
  await shoot(page, 'members');
  await page.keyboard.press('Escape');
  await page.goto(`${ada.proxy.url}/#/`);
  await ada.button('Profile and settings').click();
  await page.getByRole('list', { name: 'Sessions' }).getByText('This one').waitFor();
  await shoot(page, 'profile');
  await page.keyboard.press('Escape');
  await ada.button('New group').click();
  await shoot(page, 'new-group');
  await page.keyboard.press('Escape');
  await ada.openChat('Grace Hopper');
  await ada.input.waitFor();
  ada.proxy.cut();
  await ada.bannerSays('Connection lost');
  await ada.say('Written in a tunnel');
  await ada.hasStatus('Written in a tunnel', 'sending');
  await shoot(page, 'reconnecting');
  await ada.proxy.close();
  await ada.context.close();
  await close(grace);
}
