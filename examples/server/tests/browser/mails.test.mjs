import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const folder = mkdtempSync(join(tmpdir(), 'messenger-mails-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const world = useWorld({ settings: { MESSENGER_MAIL_URL: `folder:${folder}` } });

/** The path of the link in the mail to somebody that leads to this page, once it is there. */
async function link(email, page) {
  let found;
  await eventually(`a mail for ${page}`, () => {
    const mails = readdirSync(folder).filter((name) => name.endsWith('.eml')).map((name) => readFileSync(join(folder, name), 'utf8'));
    // Without the soft breaks and the escapes of quoted-printable.
    const texts = mails.filter((mail) => mail.includes(email)).map((mail) => mail.replaceAll('=\r\n', '').replaceAll('=3D', '='));
    found = texts.map((text) => text.match(new RegExp(`https?://[^/\\s]+(/\\S*/${page}\\?token=[\\w-]+)`))).find(Boolean)?.[1];
    assert.ok(found);
  });
  return found;
}

const person = () => {
  const username = `new-${randomUUID().slice(0, 8)}`;
  return { username, email: `${username}@example.org`, displayName: 'Newt Comer', password: 'correct horse battery' };
};

async function signUp() {
  const screen = await world.visit('newcomer');
  const somebody = person();
  await screen.register(somebody);
  await screen.chats.waitFor();
  return { screen, somebody };
}

test('an address is confirmed by a button on the page of the link', async () => {
  const { screen, somebody } = await signUp();
  await screen.button('Profile and settings').click();
  const profile = screen.page.getByRole('dialog', { name: 'Profile' });
  await profile.getByText(`${somebody.email} is not confirmed.`).waitFor();
  await profile.getByRole('button', { name: 'Mail the link again' }).click();
  await profile.getByText(`A link was mailed to ${somebody.email}`).waitFor();

  const path = await link(somebody.email, 'confirm-email');
  // A link that is followed twice is no fault.
  for (let times = 0; times < 2; times += 1) {
    await screen.page.goto(new URL(path, screen.page.url()).href);
    await screen.button('Confirm').waitFor();
    assert.equal(new URL(screen.page.url()).search, '', 'the token is not left in the address');
    await screen.button('Confirm').click();
    await screen.page.getByRole('heading', { name: 'Your address is confirmed' }).waitFor();
  }
  await screen.page.getByRole('link', { name: 'Go to Messenger' }).click();
  await screen.button('Profile and settings').click();
  await profile.getByRole('list', { name: 'Sessions' }).getByRole('listitem').first().waitFor();
  assert.equal(await profile.getByText('is not confirmed').isVisible(), false);
});

test('a forgotten password is set anew, once', async () => {
  const { screen, somebody } = await signUp();
  screen.watch.allow(/status of 4(01|22)/);
  screen.watch.allowLineErrors();
  const visitor = await world.visit('visitor');
  visitor.watch.allow(/status of 422/);
  await visitor.button('Forgot your password?').click();
  await visitor.page.getByLabel('Email').fill(somebody.email);
  await visitor.button('Mail me a link').click();
  await visitor.page.getByText(`If ${somebody.email} belongs to an account`).waitFor();

  const path = await link(somebody.email, 'reset-password');
  const open = () => visitor.page.goto(new URL(path, visitor.page.url()).href);
  await open();
  await visitor.page.getByRole('textbox', { name: 'New password' }).fill('short');
  await visitor.button('Set password').click();
  await eventually('the short password is marked', async () =>
    assert.equal(await visitor.page.getByRole('textbox', { name: 'New password' }).getAttribute('aria-invalid'), 'true'));
  await visitor.page.getByRole('textbox', { name: 'New password' }).fill('battery staple');
  await visitor.button('Set password').click();
  await visitor.page.getByRole('heading', { name: 'Your password is set' }).waitFor();
  await screen.page.getByText('Your session has ended').waitFor();

  await open();
  await visitor.page.getByRole('textbox', { name: 'New password' }).fill('something else');
  await visitor.button('Set password').click();
  await visitor.page.getByRole('heading', { name: 'This link no longer works' }).waitFor();
  await visitor.page.getByRole('link', { name: 'Ask for another one' }).click();
  await visitor.logIn({ username: somebody.username, password: 'battery staple' });
});
