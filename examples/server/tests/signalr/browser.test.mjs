// The official client for browsers, in Chromium, on a page of another origin.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from '../browser/support/browser.mjs';
import { startProxy } from '../browser/support/proxy.mjs';
import { eventually } from '../browser/support/wait.mjs';
import { EVENTS, KEEP_TRYING, numbered } from './support/client.mjs';
import { servePage } from './support/page.mjs';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

let site;
let browser;

const world = useWorld(async () => {
  site = await servePage();
  return { MESSENGER_ALLOW_ORIGINS: site.origin };
});

before(async () => (browser = await launchBrowser()));

after(async () => {
  await browser?.close();
  await site?.close();
});

/** A client in a page. `call`, `stream` and `read` work on it from here. */
async function openPage(t, person, row, { stateful = false } = {}) {
  const proxy = await startProxy(world.server.port);
  const context = await browser.newContext();
  const page = await context.newPage();
  const troubles = [];
  page.on('pageerror', (error) => troubles.push(error.stack));
  t.after(async () => {
    await context.close();
    await proxy.close();
    assert.deepEqual(troubles, []);
  });
  await page.goto(site.origin);
  const options = {
    url: `${proxy.url}/api/v1/hub`,
    token: person.token,
    transport: row.transport,
    binary: row.protocolName === 'messagepack',
    stateful,
    events: EVENTS,
    delays: KEEP_TRYING,
  };
  await page.evaluate(async ({ url, token, transport, binary, stateful, events, delays }) => {
    const { signalR } = window;
    const builder = new signalR.HubConnectionBuilder()
      .withUrl(url, { accessTokenFactory: () => token, transport })
      .withAutomaticReconnect(delays)
      .configureLogging(signalR.LogLevel.None);
    if (binary) builder.withHubProtocol(new signalR.protocols.msgpack.MessagePackHubProtocol());
    if (stateful) builder.withStatefulReconnect();
    const connection = builder.build();
    const client = (window.client = { connection, events: [], states: [], revisions: {} });
    for (const name of events) {
      connection.on(name, (payload) => {
        client.events.push({ name, payload });
        if (payload.revision) client.revisions[payload.chatId] = payload.revision;
      });
    }
    connection.onreconnecting(() => client.states.push('reconnecting'));
    connection.onreconnected(() => {
      client.states.push('reconnected');
      connection.invoke('Resume', { chats: client.revisions });
    });
    connection.onclose((error) => client.states.push(`closed ${error ?? ''}`));
    await connection.start();
  }, options);
  return {
    proxy,
    page,
    call: (method, fields) => page.evaluate(([method, fields]) => window.client.connection.invoke(method, fields), [method, fields]),
    stream: (method, fields) =>
      page.evaluate(([method, fields]) => new Promise((resolve, reject) => {
        const items = [];
        window.client.connection.stream(method, fields).subscribe({ next: (item) => items.push(item), complete: () => resolve(items), error: reject });
      }), [method, fields]),
    states: () => page.evaluate(() => window.client.states),
    bodies: async (chat) => {
      const events = await page.evaluate(() => window.client.events);
      return events.filter(({ name, payload }) => name === 'messageCreated' && payload.chatId === chat.id).map(({ payload }) => payload.message.body);
    },
    knows: (chat) => page.evaluate(([id, revision]) => (window.client.revisions[id] = revision), [chat.id, chat.revision]),
  };
}

const shows = (page, chat, bodies) =>
  eventually(`${bodies.length} messages come`, async () => assert.deepEqual(await page.bodies(chat), bodies), 20_000);

for (const row of ROWS) {
  test(`Chromium, ${row.name}: sends, receives and streams across origins, and comes back after a cut`, async (t) => {
    const group = await world.group();
    const page = await openPage(t, world.bob, row);
    await page.knows(group);
    const message = await page.call('SendMessage', { chatId: group.id, body: 'from a page ✓' });
    assert.equal(message.senderId, world.bob.id);
    await world.ada.send(group, 'to a page');
    await shows(page, group, ['from a page ✓', 'to a page']);
    assert.deepEqual(await page.stream('StreamHistory', { chatId: group.id }), await world.bob.history(group));
    await assert.rejects(page.call('SendMessage', { chatId: group.id, body: '' }), /HubException: invalid: /);

    page.proxy.cut();
    await eventually('the page is cut off', async () => assert.deepEqual(await page.states(), ['reconnecting']));
    const missed = numbered(20, 'missed');
    for (const body of missed) await world.ada.send(group, body);
    page.proxy.restore();
    await eventually('the page is back', async () => assert.deepEqual(await page.states(), ['reconnecting', 'reconnected']), 20_000);
    await page.call('SendMessage', { chatId: group.id, body: 'back again' });
    await shows(page, group, ['from a page ✓', 'to a page', ...missed, 'back again']);
  });
}

for (const row of WEB_SOCKETS) {
  test(`Chromium, ${row.name}, stateful: three cuts go unnoticed`, async (t) => {
    const group = await world.group();
    const page = await openPage(t, world.bob, row, { stateful: true });
    const expected = [];
    for (const [round, how] of ['rst', 'fin', 'rst'].entries()) {
      const bodies = numbered(40, `round ${round}`);
      page.proxy.dropAfter('down', 4000, how);
      for (const body of bodies) await world.ada.send(group, body);
      expected.push(...bodies);
      await shows(page, group, expected);
    }
    assert.equal((await page.call('SendMessage', { chatId: group.id, body: 'last' })).body, 'last');
    await shows(page, group, [...expected, 'last']);
    assert.equal(page.proxy.counts.cuts, 3);
    assert.deepEqual(await page.states(), []);
  });
}
