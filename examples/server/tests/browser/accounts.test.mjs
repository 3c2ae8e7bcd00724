import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

const newcomer = (displayName) => {
  const username = `new-${randomUUID().slice(0, 8)}`;
  return { username, email: `${username}@example.org`, displayName, password: 'correct horse battery' };
};

test('someone registers, reloads, logs out and logs in again', async () => {
  const screen = await world.visit('newcomer');
  const person = newcomer('Newt Comer');
  await screen.register(person);
  await screen.chats.getByText('Newt Comer').waitFor();

  await screen.page.reload();
  await screen.chats.getByText('Newt Comer').waitFor();

  await screen.button('Profile and settings').click();
  const profile = screen.page.getByRole('dialog', { name: 'Profile' });
  // Before that the page may yet ask for them, and be refused.
  await profile.getByRole('list', { name: 'Sessions' }).getByRole('listitem').first().waitFor();
  await profile.getByRole('button', { name: 'Log out', exact: true }).click();
  await screen.logIn(person);
  await screen.chats.getByText('Newt Comer').waitFor();
});

test('what is wrong with an account stands beside the field', async () => {
  const screen = await world.visit('newcomer');
  screen.watch.allow(/status of 4(09|22|01)/);
  const ada = await world.person('Ada Lovelace');

  await screen.register({ ...newcomer('Bad'), email: 'nowhere', password: 'short' });
  for (const label of ['Email', 'Password']) {
    const input = screen.page.getByLabel(label);
    await eventually(`${label} is marked`, async () => assert.equal(await input.getAttribute('aria-invalid'), 'true'));
    const error = await input.evaluate((element) => document.getElementById(element.getAttribute('aria-describedby').split(' ')[1]).textContent);
    assert.notEqual(error, '');
  }
  assert.equal(await screen.page.getByLabel('Username').getAttribute('aria-invalid'), null);

  await screen.page.getByLabel('Username').fill(ada.username);
  await screen.page.getByLabel('Email').fill(newcomer('').email);
  await screen.page.getByLabel('Password').fill('long enough now');
  await screen.button('Create account').click();
  await eventually('the taken name is marked', async () =>
    assert.equal(await screen.page.getByLabel('Username').getAttribute('aria-invalid'), 'true'));
  assert.equal(await screen.page.getByLabel('Email').getAttribute('aria-invalid'), null);

  await screen.button('Log in instead').click();
  await screen.page.getByLabel('Username or email').fill(ada.username);
  await screen.page.getByLabel('Password').fill('not her password');
  await screen.button('Log in').click();
  await eventually('the wrong password is told', async () =>
    assert.equal(await screen.page.getByLabel('Password').getAttribute('aria-invalid'), 'true'));
});

test('the profile can be changed, and a session ended from another one', async () => {
  const ada = await world.person('Ada Lovelace');
  const here = await world.open(ada);
  const there = await world.open(ada);
  here.watch.allow(/status of 422/);

  await here.button('Profile and settings').click();
  const profile = here.page.getByRole('dialog', { name: 'Profile' });
  await profile.getByLabel('Display name').fill('Augusta King');
  await profile.getByRole('switch', { name: 'Mail me about messages that stay unread' }).click();
  await profile.getByText('This server sends no mail at present.').waitFor();
  await profile.getByLabel('Language of mails').selectOption({ label: 'Русский' });
  await profile.getByLabel('No mail from').fill('22:00');
  await profile.getByLabel('until').fill('07:30');
  await profile.getByLabel('Time zone').selectOption({ label: 'America/New York' });
  await profile.getByRole('button', { name: 'Save' }).click();
  await here.chats.getByText('Augusta King').waitFor();
  const me = await ada.api('GET', '/users/me');
  assert.equal(me.displayName, 'Augusta King');
  assert.deepEqual(me.notifications, { email: false, quietHours: { from: '22:00', to: '07:30' } });
  assert.deepEqual([me.language, me.timeZone], ['ru', 'America/New_York']);

  await here.page.keyboard.press('Escape');
  await here.button('Profile and settings').click();
  assert.equal(await profile.getByLabel('Time zone').inputValue(), 'America/New_York');
  await profile.getByLabel('until').fill('');
  await profile.getByRole('button', { name: 'Save' }).click();
  await profile.getByText('must be a time such as 22:00', { exact: false }).waitFor();
  await profile.getByLabel('No mail from').fill('');
  await profile.getByLabel('Language of mails').selectOption({ label: 'As the server chooses' });
  await profile.getByRole('button', { name: 'Save' }).click();
  await eventually('hours and language are cleared', async () => {
    const now = await ada.api('GET', '/users/me');
    assert.deepEqual([now.notifications, now.language ?? null], [{ email: false }, null]);
  });

  there.watch.allowLineErrors();
  // Whether the session has ended is asked for, where the line was gone before it said so.
  there.watch.allow(/status of 401/);
  const others = profile.getByRole('list', { name: 'Sessions' }).getByRole('button', { name: /^Log out Chrome/ });
  assert.equal(await others.count(), 1);
  await others.click();
  await there.page.getByText('Your session has ended').waitFor();
});

test('an account can be erased', async () => {
  const screen = await world.visit('newcomer');
  screen.watch.allow(/status of 401/);
  const person = newcomer('Brief Visitor');
  await screen.register(person);
  await screen.button('Profile and settings').click();
  await screen.page.getByText('Erase account').click();
  const erase = screen.page.getByRole('form', { name: 'Erase account' });
  await erase.getByLabel('Password').fill(person.password);
  await erase.getByRole('button', { name: 'Erase my account' }).click();
  await screen.page.getByRole('dialog', { name: 'Erase your account?' }).getByRole('button', { name: 'Erase' }).click();
  await screen.page.getByText('Your account has been erased.').waitFor();

  await screen.page.getByLabel('Username or email').fill(person.username);
  await screen.page.getByLabel('Password').fill(person.password);
  await screen.button('Log in').click();
  await eventually('there is no such account', async () =>
    assert.equal(await screen.page.getByLabel('Password').getAttribute('aria-invalid'), 'true'));
});
