import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestsOf } from './support/requests.mjs';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

async function pair() {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  return { ada, grace, adasScreen: await world.open(ada), gracesScreen: await world.open(grace) };
}

test('two people find each other and write both ways', async () => {
  const { grace, adasScreen, gracesScreen } = await pair();
  await adasScreen.writeTo(grace);
  await adasScreen.say('Hello Grace');
  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.sees('Hello Grace');
  await gracesScreen.say('Hello Ada');
  await adasScreen.sees('Hello Ada');
  for (const screen of [adasScreen, gracesScreen]) await screen.showsExactly(['Hello Grace', 'Hello Ada']);
});

test('what someone wrote is shown as text, whatever it looks like', async () => {
  const { grace, adasScreen, gracesScreen } = await pair();
  const markup = '<img src=x onerror="document.title=1"><script>document.title=2</script><b style="color:red">bold</b>';
  await adasScreen.writeTo(grace);
  await adasScreen.say(markup);
  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.showsExactly([markup]);
  assert.equal(await gracesScreen.log.locator('img, script, b').count(), 0);
});

test('a reply shows what it answers, and leads there', async () => {
  const { grace, adasScreen, gracesScreen } = await pair();
  await adasScreen.writeTo(grace);
  await adasScreen.say('Tea or coffee?');
  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.choose('Tea or coffee?', 'Reply');
  await gracesScreen.say('Coffee');
  const quote = adasScreen.message('Coffee').getByRole('button', { name: 'In reply to You: Tea or coffee?' });
  await quote.click();
  await eventually('the answered message has the focus', async () =>
    assert.match(await adasScreen.page.evaluate(() => document.activeElement.textContent), /Tea or coffee\?/));
});

test('an edit reaches everyone and is marked', async () => {
  const { grace, adasScreen, gracesScreen } = await pair();
  await adasScreen.writeTo(grace);
  await adasScreen.say('Helo');
  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.sees('Helo');
  await adasScreen.choose('Helo', 'Edit');
  assert.equal(await adasScreen.input.inputValue(), 'Helo');
  await adasScreen.say('Hello');
  for (const screen of [adasScreen, gracesScreen]) {
    await screen.showsExactly(['Hello']);
    await screen.message('Hello').getByText('edited').waitFor();
  }
  await gracesScreen.openMenu('Hello');
  assert.equal(await gracesScreen.page.getByRole('menuitem', { name: 'Edit' }).count(), 0);
});

test('a deleted message leaves a tombstone for everyone', async () => {
  const { grace, adasScreen, gracesScreen } = await pair();
  await adasScreen.writeTo(grace);
  await adasScreen.say('Keep this');
  await adasScreen.say('Wrong window');
  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.sees('Wrong window');
  await adasScreen.choose('Wrong window', 'Delete');
  await adasScreen.page.getByRole('dialog', { name: 'Delete message?' }).getByRole('button', { name: 'Delete' }).click();
  for (const screen of [adasScreen, gracesScreen]) await screen.showsExactly(['Keep this', 'This message was deleted']);
});

test('typing is shown while it lasts, and said at most once in three seconds', async () => {
  const { ada, grace, adasScreen, gracesScreen } = await pair();
  const said = requestsOf(adasScreen.page, 'SetTyping');
  await adasScreen.page.reload();
  const chat = await ada.openDirect(grace);
  await ada.send(chat, 'Hello');
  await adasScreen.openChat('Grace Hopper');
  await gracesScreen.openChat('Ada Lovelace');
  // What is typed before is told to nobody.
  for (const screen of [adasScreen, gracesScreen]) await screen.isConnected();

  const sign = gracesScreen.page.getByText('Ada Lovelace is typing…');
  const startedAt = Date.now();
  await adasScreen.input.pressSequentially('a long sentence that takes a while', { delay: 40 });
  await sign.waitFor();
  const yes = said.filter(({ fields }) => fields.typing);
  assert.ok(yes.length >= 1 && yes.length <= 1 + Math.floor((Date.now() - startedAt) / 3000), `said ${yes.length} times`);

  await adasScreen.button('Send').click();
  await sign.waitFor({ state: 'detached' });
  await adasScreen.input.pressSequentially('more');
  await sign.waitFor();
  await adasScreen.input.blur();
  await sign.waitFor({ state: 'detached' });
});

test('a message is sent, then read', async () => {
  const { ada, grace, adasScreen, gracesScreen } = await pair();
  const chat = await ada.openDirect(grace);
  await adasScreen.openChat('Grace Hopper');
  await adasScreen.say('Have you read this?');
  await adasScreen.hasStatus('Have you read this?', 'delivered');
  await gracesScreen.openChat('Ada Lovelace');
  await adasScreen.hasStatus('Have you read this?', 'read');
  await adasScreen.message('Have you read this?').getByRole('img', { name: 'Read' }).waitFor();

  await eventually('the mark is stored', async () => assert.equal((await grace.api('GET', `/chats/${chat.id}`)).me.readSeq, 1));
});

test('unread messages are counted in the list and in the title until they are seen', async () => {
  const { ada, grace, gracesScreen } = await pair();
  const chat = await ada.openDirect(grace);
  for (const text of ['one', 'two', 'three']) await ada.send(chat, text);
  await gracesScreen.hasUnread('Ada Lovelace', 3);
  assert.match(await gracesScreen.chatLink('Ada Lovelace').getAttribute('aria-label'), /3 unread messages.*three/);
  await eventually('the title counts', async () => assert.match(await gracesScreen.page.title(), /^\(3\)/));

  await gracesScreen.openChat('Ada Lovelace');
  await gracesScreen.hasUnread('Ada Lovelace', 0);
  await gracesScreen.page.getByText('New messages').waitFor();
  await eventually('the title has no number', async () => assert.equal(await gracesScreen.page.title(), 'Messenger'));

  await ada.send(chat, 'four');
  await gracesScreen.sees('four');
  await eventually('all is read on the server', async () => assert.equal((await grace.api('GET', `/chats/${chat.id}`)).me.readSeq, 4));
  await gracesScreen.hasUnread('Ada Lovelace', 0);
});

test('a second window of the same person follows', async () => {
  const { ada, grace, gracesScreen } = await pair();
  const second = await world.open(grace);
  const chat = await ada.openDirect(grace);
  await ada.send(chat, 'Both windows');
  await second.hasUnread('Ada Lovelace', 1);
  await gracesScreen.openChat('Ada Lovelace');
  await second.hasUnread('Ada Lovelace', 0);
  await gracesScreen.say('From the first window');
  await second.openChat('Ada Lovelace');
  await second.showsExactly(['Both windows', 'From the first window']);
});

test('presence comes and goes', async () => {
  const { ada, grace, adasScreen, gracesScreen } = await pair();
  await ada.openDirect(grace);
  await adasScreen.openChat('Grace Hopper');
  const state = adasScreen.page.locator('.chat-header .subtitle');
  await state.getByText('Online').waitFor();
  assert.match(await adasScreen.chatLink('Grace Hopper').getAttribute('aria-label'), /online/);
  await gracesScreen.page.close();
  // A server announces it only after a time of grace.
  await state.getByText('Last seen').waitFor({ timeout: 90_000 });
});
