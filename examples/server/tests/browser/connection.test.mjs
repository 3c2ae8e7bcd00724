import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestsOf } from './support/requests.mjs';
import { eventually } from './support/wait.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

async function pairInChat() {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  const chat = await ada.openDirect(grace);
  const adasScreen = await world.open(ada);
  const gracesScreen = await world.open(grace);
  for (const screen of [adasScreen, gracesScreen]) screen.watch.allowLineErrors();
  await adasScreen.openChat('Grace Hopper');
  await gracesScreen.openChat('Ada Lovelace');
  return { ada, grace, chat, adasScreen, gracesScreen };
}

/** Nothing lost and nothing doubled: the store and every screen have exactly these messages, in this order. */
async function everywhere({ ada, chat, adasScreen, gracesScreen }, texts) {
  for (const screen of [adasScreen, gracesScreen]) await screen.showsExactly(texts);
  const stored = await ada.history(chat);
  assert.deepEqual(stored.filter(({ kind }) => kind === 'text').map(({ body, deletedAt }) => (deletedAt ? 'This message was deleted' : body)), texts);
}

test('a context that was offline gets all that it missed and loses nothing that it wrote', async () => {
  const scene = await pairInChat();
  const { ada, chat, adasScreen, gracesScreen } = scene;
  await adasScreen.say('Before');
  await gracesScreen.sees('Before');
  const doomed = await ada.send(chat, 'Will be deleted');
  const typo = await ada.send(chat, 'Tpyo');
  await gracesScreen.sees('Tpyo');

  await gracesScreen.context.setOffline(true);
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost. Reconnecting… your messages are kept.');
  await gracesScreen.say('Written offline 1');
  await gracesScreen.say('Written offline 2');
  await gracesScreen.hasStatus('Written offline 2', 'sending');
  await adasScreen.say('Missed 1');
  await adasScreen.say('Missed 2');
  await adasScreen.hasStatus('Missed 2', 'sent');
  await ada.api('PATCH', `/chats/${chat.id}/messages/${typo.id}`, { body: 'Typo' });
  await ada.api('DELETE', `/chats/${chat.id}/messages/${doomed.id}`);
  assert.deepEqual(await gracesScreen.texts(), ['Before', 'Will be deleted', 'Tpyo', 'Written offline 1', 'Written offline 2']);

  gracesScreen.proxy.restore();
  await gracesScreen.context.setOffline(false);
  await gracesScreen.bannerSays('Back online. 2 messages arrived while you were away.');
  await everywhere(scene, ['Before', 'This message was deleted', 'Typo', 'Missed 1', 'Missed 2', 'Written offline 1', 'Written offline 2']);
  await gracesScreen.hasStatus('Written offline 2', 'read');
  await gracesScreen.banner.locator('.banner').waitFor({ state: 'detached' });
});

test('a short loss with nothing missed says so', async () => {
  const { gracesScreen } = await pairInChat();
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  gracesScreen.proxy.restore();
  await gracesScreen.bannerSays('Back online. Nothing was missed.');
});

test('what has changed since is named, and not every chat', async () => {
  const { ada, grace, chat, gracesScreen } = await pairInChat();
  const unchanged = await Promise.all(['Tea', 'Coffee', 'Milk'].map((title) => ada.createGroup(title, [grace])));
  for (const { title } of unchanged) await gracesScreen.chatLink(title).waitFor();
  const cut = async () => {
    gracesScreen.proxy.cut();
    await gracesScreen.bannerSays('Connection lost');
  };
  const resumes = requestsOf(gracesScreen.page, 'Resume');
  await cut();
  gracesScreen.proxy.restore();
  await gracesScreen.bannerSays('Back online. Nothing was missed.');
  resumes.length = 0;

  await cut();
  await ada.send(chat, 'Missed');
  gracesScreen.proxy.restore();
  await gracesScreen.bannerSays('Back online. 1 message arrived while you were away.');
  const named = resumes.flatMap(({ fields }) => Object.keys(fields.chats));
  // A store on SQL Server tells no position.
  const all = process.env.MESSENGER_BROWSER_STORE === 'mssql' ? [chat, ...unchanged].map(({ id }) => id).sort() : [chat.id];
  assert.deepEqual(named.sort(), all);
});

test('a message whose answer was lost is not sent twice', async () => {
  const scene = await pairInChat();
  const { adasScreen, gracesScreen } = scene;
  gracesScreen.proxy.holdReplies();
  await gracesScreen.say('Did this arrive?');
  await adasScreen.sees('Did this arrive?');
  assert.equal(await gracesScreen.status('Did this arrive?'), 'sending');

  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  gracesScreen.proxy.restore();
  await gracesScreen.hasStatus('Did this arrive?', 'read');
  await everywhere(scene, ['Did this arrive?']);
});

test('what was written offline survives a reload of the page', async () => {
  const scene = await pairInChat();
  const { gracesScreen } = scene;
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  await gracesScreen.say('Kept through a reload');
  await gracesScreen.hasStatus('Kept through a reload', 'sending');
  // The page is reloaded with the line up again, but before the lost connection is.
  await gracesScreen.context.setOffline(true);
  gracesScreen.proxy.restore();
  await gracesScreen.context.setOffline(false);
  await gracesScreen.page.reload();
  await gracesScreen.sees('Kept through a reload');
  await everywhere(scene, ['Kept through a reload']);
});

test('a chat that was made, and one that was lost, while offline', async () => {
  const { ada, grace, gracesScreen } = await pairInChat();
  const group = await ada.createGroup('Old group', [grace]);
  await gracesScreen.chatLink('Old group').waitFor();
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  await ada.api('DELETE', `/chats/${group.id}/members/${grace.id}`);
  const fresh = await ada.createGroup('New group', [grace]);
  await ada.send(fresh, 'Welcome');
  gracesScreen.proxy.restore();
  await gracesScreen.hasUnread('New group', 1);
  await gracesScreen.chatLink('Old group').waitFor({ state: 'detached' });
});

test('too much missed for a catch-up: the chat is read anew', async () => {
  const { ada, chat, adasScreen, gracesScreen } = await pairInChat();
  await adasScreen.say('Before');
  await gracesScreen.sees('Before');
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  for (let number = 1; number <= 1_200; number += 1) await ada.send(chat, `Flood ${number}`);
  gracesScreen.proxy.restore();
  await gracesScreen.bannerSays('1200 messages arrived while you were away.');
  await gracesScreen.log.getByRole('separator', { name: 'New messages' }).waitFor();
  assert.ok((await gracesScreen.texts()).includes('Flood 1'), 'it is where the first of them are');
  await gracesScreen.page.getByRole('button', { name: /^Newest messages/ }).click();
  await gracesScreen.sees('Flood 1200');
  const texts = await gracesScreen.texts();
  assert.equal(new Set(texts).size, texts.length);
  assert.deepEqual(texts.slice(-50), Array.from({ length: 50 }, (_, at) => `Flood ${1_151 + at}`));
});

for (const [how, end] of [['an orderly restart', 'stop'], ['a crash', 'kill']]) {
  test(`both carry on after ${how} of the server`, async () => {
    const scene = await pairInChat();
    const { adasScreen, gracesScreen } = scene;
    await adasScreen.say('Before');
    await gracesScreen.sees('Before');

    // A node that stops begins no connection for who comes back at once.
    for (const screen of [adasScreen, gracesScreen]) screen.watch.allow(/status of 503 .*\/hub\/negotiate/);
    await world.server[end]();
    for (const screen of [adasScreen, gracesScreen]) await screen.bannerSays('Connection lost');
    await adasScreen.say('Written while it was down');
    await adasScreen.hasStatus('Written while it was down', 'sending');

    await world.server.start();
    await gracesScreen.sees('Written while it was down');
    await gracesScreen.say('And after');
    await adasScreen.sees('And after');
    await everywhere(scene, ['Before', 'Written while it was down', 'And after']);
    for (const screen of [adasScreen, gracesScreen]) {
      await eventually('the banner has gone', async () => assert.equal(await screen.banner.locator('.banner.lost').count(), 0));
    }
  });
}
