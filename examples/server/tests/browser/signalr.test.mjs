import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useWorld } from './support/world.mjs';

const world = useWorld({ transport: null });

async function pairInChat(options) {
  const [ada, grace] = await Promise.all([world.person('Ada Lovelace'), world.person('Grace Hopper')]);
  const chat = await ada.openDirect(grace);
  const [adasScreen, gracesScreen] = [await world.open(ada), await world.open(grace, options)];
  for (const screen of [adasScreen, gracesScreen]) screen.watch.allowLineErrors();
  await adasScreen.openChat('Grace Hopper');
  await gracesScreen.openChat('Ada Lovelace');
  return { ada, grace, chat, adasScreen, gracesScreen };
}

const footer = ({ page }) => page.locator('.sidebar-footer .transport-status');

const isConnectedOver = (screen, name) => footer(screen).getByText(`Connected over ${name}`, { exact: true }).waitFor();

async function chooseTransport(screen, name) {
  await screen.button('Profile and settings').click();
  await screen.page.getByLabel('Connect over').selectOption(name);
  const dialog = screen.page.getByRole('dialog', { name: 'Profile' });
  await dialog.getByRole('status').getByText(`Connected over ${name}`, { exact: true }).waitFor();
  await screen.page.keyboard.press('Escape');
}

/** The addresses that a page asks for or connects to from now on. */
function watchAddresses({ page }) {
  const paths = [];
  page.on('request', (request) => paths.push(new URL(request.url()).pathname));
  page.on('websocket', (socket) => paths.push(new URL(socket.url()).pathname));
  return paths;
}

test('the page connects over the WebSocket, and loads no SignalR client, unless one chooses it', async () => {
  const { gracesScreen } = await pairInChat();
  const paths = watchAddresses(gracesScreen);
  await gracesScreen.page.reload();
  await isConnectedOver(gracesScreen, 'WebSocket');
  assert.ok(paths.includes('/api/v1/ws'));
  assert.deepEqual(paths.filter((path) => /signalr\.min|hub/.test(path)), []);
});

test('the choice goes on where the other transport was, is remembered, and can be taken back', async () => {
  const { adasScreen, gracesScreen } = await pairInChat();
  await gracesScreen.say('Over the WebSocket');
  await adasScreen.sees('Over the WebSocket');
  const paths = watchAddresses(gracesScreen);

  await chooseTransport(gracesScreen, 'SignalR');
  assert.ok(paths.includes('/api/v1/hub'));
  assert.equal(await gracesScreen.banner.locator('.banner').count(), 0);
  await gracesScreen.say('Over SignalR');
  await adasScreen.sees('Over SignalR');
  await adasScreen.say('Received over SignalR');
  await gracesScreen.sees('Received over SignalR');

  await gracesScreen.page.reload();
  await isConnectedOver(gracesScreen, 'SignalR');
  paths.length = 0;
  await chooseTransport(gracesScreen, 'WebSocket');
  await gracesScreen.say('Back again');
  await adasScreen.sees('Back again');
  assert.ok(paths.includes('/api/v1/ws'));
  for (const screen of [adasScreen, gracesScreen]) {
    await screen.showsExactly(['Over the WebSocket', 'Over SignalR', 'Received over SignalR', 'Back again']);
  }
});

test('the address chooses, too, until one chooses otherwise', async () => {
  const { gracesScreen } = await pairInChat({ transport: 'signalr' });
  await isConnectedOver(gracesScreen, 'SignalR');
  await gracesScreen.page.reload();
  await isConnectedOver(gracesScreen, 'SignalR');
  await chooseTransport(gracesScreen, 'WebSocket');
  assert.equal(new URL(gracesScreen.page.url()).search, '');
  await gracesScreen.page.reload();
  await isConnectedOver(gracesScreen, 'WebSocket');
});

test('a choice made while the line is down counts once it is up', async () => {
  const { ada, chat, gracesScreen } = await pairInChat();
  await isConnectedOver(gracesScreen, 'WebSocket');
  gracesScreen.proxy.cut();
  await gracesScreen.bannerSays('Connection lost');
  await gracesScreen.button('Profile and settings').click();
  await gracesScreen.page.getByLabel('Connect over').selectOption('SignalR');
  await gracesScreen.page.keyboard.press('Escape');
  await gracesScreen.say('Written meanwhile');
  await ada.send(chat, 'Missed');
  gracesScreen.proxy.restore();
  await isConnectedOver(gracesScreen, 'SignalR');
  await gracesScreen.showsExactly(['Missed', 'Written meanwhile']);
  await gracesScreen.bannerSays('Back online. 1 message arrived while you were away.');
});

test('what the hub refuses is the same problem as on the WebSocket', async () => {
  const { chat, gracesScreen } = await pairInChat({ transport: 'signalr' });
  await isConnectedOver(gracesScreen, 'SignalR');
  const problems = await gracesScreen.page.evaluate(async (chatId) => {
    const { openSignalR } = await import('/assets/signalr-socket.js');
    const { token } = JSON.parse(localStorage.getItem('messenger.session'));
    const ignore = () => {};
    const transport = await openSignalR({ token, onEvent: ignore, onActivity: ignore, onClose: ignore });
    const seen = [];
    const see = ({ name, code, message, isTransient }) => seen.push({ name, code, isTransient, quotes: /HubException/.test(message) });
    await transport.request('SendMessage', { chatId, body: ' ' }).catch(see);
    await transport.request('GetChat', { chatId: '01a201f5-1d7b-7c49-ba60-1dd5ffdaaae8' }).catch(see);
    await transport.request('NoSuchMethod').catch(see);
    transport.close();
    await transport.request('Ping').catch(see);
    return seen;
  }, chat.id);
  assert.deepEqual(problems, [
    { name: 'Problem', code: 'invalid', isTransient: false, quotes: false },
    { name: 'Problem', code: 'notFound', isTransient: false, quotes: false },
    { name: 'Problem', code: 'malformed', isTransient: false, quotes: true },
    { name: 'Problem', code: 'network', isTransient: true, quotes: false },
  ]);
});

test('a session that ends elsewhere ends here', async () => {
  const { grace, gracesScreen } = await pairInChat({ transport: 'signalr' });
  await isConnectedOver(gracesScreen, 'SignalR');
  const sessions = (await grace.api('GET', '/auth/sessions')).items;
  const other = sessions.find(({ current }) => !current);
  await grace.api('DELETE', `/auth/sessions/${other.id}`);
  await gracesScreen.page.getByText('Your session has ended. Please log in again.').waitFor();
});
