import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const NAMES = ['Ada Lovelace', 'Grace Hopper', 'Alan Turing'];

async function trio() {
  const people = await Promise.all(NAMES.map(world.person));
  const screens = await Promise.all(people.map((person) => world.open(person)));
  return { people, screens };
}

async function groupOfThree(title) {
  const { people, screens } = await trio();
  const chat = await people[0].createGroup(title, people.slice(1));
  for (const screen of screens) await screen.openChat(title);
  return { people, screens, chat };
}

test('a group of three is made on the page, and everyone writes', async () => {
  const { people, screens } = await trio();
  const [ada, grace, alan] = screens;
  await ada.button('New group').click();
  const dialog = ada.page.getByRole('dialog', { name: 'New group' });
  await dialog.getByLabel('Group name').fill('Engine');
  for (const person of people.slice(1)) {
    await dialog.getByLabel('Add people').fill(person.username);
    await dialog.getByRole('list', { name: 'People found' }).getByRole('button', { name: person.displayName }).click();
  }
  await dialog.getByRole('button', { name: 'Create group' }).click();
  await ada.page.getByRole('heading', { level: 2, name: 'Engine' }).waitFor();
  await ada.log.getByText('You created the group “Engine”').waitFor();

  for (const screen of [grace, alan]) await screen.openChat('Engine');
  await ada.say('Welcome');
  await grace.sees('Welcome');
  await grace.say('Thank you');
  await alan.sees('Thank you');
  await alan.say('Me too');
  for (const screen of screens) await screen.showsExactly(['Welcome', 'Thank you', 'Me too']);
  await alan.message('Welcome').getByText('Ada Lovelace').first().waitFor();
});

test('in a group one sees how many have read, and who', async () => {
  const people = await Promise.all(NAMES.map(world.person));
  const chat = await people[0].createGroup('Readers', people.slice(1));
  const ada = await world.open(people[0]);
  const grace = await world.open(people[1]);
  await ada.openChat('Readers');
  await ada.say('Who reads this?');
  await grace.openChat('Readers');
  await ada.message('Who reads this?').getByRole('img', { name: 'Read by 1 of 2' }).waitFor();

  await ada.button('Members').click();
  const list = ada.page.getByRole('list', { name: 'Members' });
  await list.getByRole('listitem').filter({ hasText: 'Grace Hopper' }).getByText('Has read everything').waitFor();
  assert.equal(await list.getByRole('listitem').filter({ hasText: 'Alan Turing' }).getByText('Has read everything').count(), 0);
  await ada.page.keyboard.press('Escape');

  const { lastSeq } = await people[2].api('GET', `/chats/${chat.id}`);
  await people[2].api('PUT', `/chats/${chat.id}/read`, { seq: lastSeq });
  await ada.hasStatus('Who reads this?', 'read');
});

test('roles decide who may rename, add and remove', async () => {
  const { people, screens: [ada, grace, alan] } = await groupOfThree('Roles');
  const edsger = await world.person('Edsger Dijkstra');

  await grace.button('Members').click();
  const gracesPanel = grace.page.getByRole('dialog', { name: 'Members' });
  await gracesPanel.getByText('Alan Turing').waitFor();
  assert.equal(await gracesPanel.getByLabel('Group name').count(), 0);
  assert.equal(await gracesPanel.getByRole('button', { name: /^Remove / }).count(), 0);

  await ada.button('Members').click();
  await ada.page.getByLabel('Role of Grace Hopper').selectOption('admin');
  await gracesPanel.getByLabel('Group name').fill('Rules');
  await gracesPanel.getByRole('button', { name: 'Rename' }).click();
  await alan.log.getByText('Grace Hopper renamed the group to “Rules”').waitFor();
  await alan.page.getByRole('heading', { level: 2, name: 'Rules' }).waitFor();

  await gracesPanel.getByLabel('Add people').fill(edsger.username);
  await gracesPanel.getByRole('list', { name: 'People to add' }).getByRole('button', { name: 'Edsger Dijkstra' }).click();
  await alan.log.getByText('Grace Hopper added Edsger Dijkstra').waitFor();
  await eventually('Edsger has the chat', async () => assert.equal((await edsger.api('GET', '/chats')).items.length, 1));

  assert.equal(await gracesPanel.getByRole('button', { name: 'Remove Ada Lovelace' }).count(), 0);
  await gracesPanel.getByRole('button', { name: 'Remove Alan Turing' }).click();
  await grace.page.getByRole('dialog', { name: 'Remove Alan Turing?' }).getByRole('button', { name: 'Remove', exact: true }).click();
  await alan.page.getByText('You are no longer in “Rules”.').waitFor();
  await alan.chatLink('Rules').waitFor({ state: 'detached' });
  await ada.log.getByText('Grace Hopper removed Alan Turing').waitFor();
  await eventually('Alan has no chat', async () => assert.equal((await people[2].api('GET', '/chats')).items.length, 0));
});

test('ownership is handed over, and who leaves is gone', async () => {
  const { people: [, , alan], screens: [adasScreen, gracesScreen], chat } = await groupOfThree('Handover');
  await adasScreen.button('Members').click();
  await adasScreen.page.getByLabel('Role of Grace Hopper').selectOption('owner');
  await adasScreen.page.getByRole('dialog', { name: 'Make Grace Hopper the owner?' }).getByRole('button', { name: 'Hand over' }).click();
  await gracesScreen.log.getByText('Ada Lovelace made you the owner').waitFor();
  await adasScreen.page.getByLabel('Role of Grace Hopper').waitFor({ state: 'detached' });

  await adasScreen.page.getByRole('dialog', { name: 'Members' }).getByRole('button', { name: 'Leave group' }).click();
  await adasScreen.page.getByRole('dialog', { name: 'Leave this group?' }).getByRole('button', { name: 'Leave', exact: true }).click();
  await adasScreen.chatLink('Handover').waitFor({ state: 'detached' });
  await gracesScreen.log.getByText('Ada Lovelace left the group').waitFor();

  const { items } = await alan.api('GET', `/chats/${chat.id}/members`);
  assert.deepEqual(items.map(({ user, role }) => [user.displayName, role]).sort(), [['Alan Turing', 'member'], ['Grace Hopper', 'owner']]);
});

test('an admin may delete what others wrote, a member may not', async () => {
  const { people: [ada, grace], screens: [adasScreen, gracesScreen, alansScreen], chat } = await groupOfThree('Moderation');
  await alansScreen.say('Out of place');
  await gracesScreen.sees('Out of place');
  await gracesScreen.openMenu('Out of place');
  assert.equal(await gracesScreen.page.getByRole('menuitem', { name: 'Delete' }).count(), 0);
  await gracesScreen.page.keyboard.press('Escape');

  await ada.api('PUT', `/chats/${chat.id}/members/${grace.id}/role`, { role: 'admin' });
  await gracesScreen.log.getByText('Ada Lovelace made you an admin').waitFor();
  await eventually('the menu offers to delete', async () => {
    await gracesScreen.openMenu('Out of place');
    if ((await gracesScreen.page.getByRole('menuitem', { name: 'Delete' }).count()) === 1) return;
    await gracesScreen.page.keyboard.press('Escape');
    assert.fail('no such item');
  });
  await gracesScreen.page.getByRole('menuitem', { name: 'Delete' }).click();
  await gracesScreen.page.getByRole('dialog', { name: 'Delete message?' }).getByRole('button', { name: 'Delete' }).click();
  await adasScreen.showsExactly(['This message was deleted']);
});

test('a chat can be muted', async () => {
  const { people: [ada, grace], screens: [, gracesScreen], chat } = await groupOfThree('Noise');
  await gracesScreen.button('Members').click();
  await gracesScreen.page.getByLabel('Mute this chat').selectOption({ label: '8 hours' });
  await eventually('the mute is stored', async () => {
    const { me } = await grace.api('GET', `/chats/${chat.id}`);
    const hours = (new Date(me.mutedUntil) - Date.now()) / 3_600_000;
    assert.ok(hours > 7.9 && hours <= 8, `muted for ${hours} hours`);
  });
  await gracesScreen.page.keyboard.press('Escape');
  await gracesScreen.page.keyboard.press('Escape');
  await gracesScreen.page.getByRole('heading', { name: 'No chat open' }).waitFor();
  await ada.send(chat, 'Can you hear me?');
  await gracesScreen.hasUnread('Noise', 1);
  assert.equal(await gracesScreen.page.title(), 'Messenger');

  await gracesScreen.openChat('Noise');
  await gracesScreen.button('Members').click();
  const mail = gracesScreen.page.getByRole('switch', { name: 'Mail me about this chat' });
  for (const level of ['none', 'all']) {
    await mail.click();
    await eventually('the level is stored', async () => assert.equal((await grace.api('GET', `/chats/${chat.id}`)).me.notifications, level));
    assert.equal(await mail.isChecked(), level === 'all');
  }
  await gracesScreen.page.getByLabel('Mute this chat').selectOption({ label: 'Not muted' });
  await eventually('the mute is gone', async () => assert.equal((await grace.api('GET', `/chats/${chat.id}`)).me.mutedUntil ?? null, null));
});
