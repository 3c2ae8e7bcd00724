// The server goes away and comes back on the same store, and clients find their way back by themselves.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { KEEP_TRYING, numbered } from './support/client.mjs';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const RECONNECTS = { reconnect: KEEP_TRYING, resume: true };

for (const [signal, down] of [['SIGTERM', () => world.server.stop()], ['SIGKILL', () => world.server.kill()]]) {
  test(`${signal}: readers over all transports and a writer come back, and nothing is lost or repeated`, async (t) => {
    const group = await world.group();
    const rows = [
      ...ROWS.map((row) => [row.name, row, RECONNECTS]),
      ...WEB_SOCKETS.map((row) => [`${row.name}, stateful`, row, { ...RECONNECTS, stateful: true }]),
    ];
    const readers = await Promise.all(rows.map(async ([name, row, options]) =>
      Object.assign(await world.connect(t, world.bob, row, options), { name })));
    for (const reader of readers) reader.knows(group);
    const writer = (await world.connect(t, world.ada, WEB_SOCKETS[0], RECONNECTS)).knows(group);

    await writer.sendUntilStored(group, numbered(20, 'before'));
    const during = writer.sendUntilStored(group, numbered(300, 'during'));
    await writer.gets('messageCreated', ({ message }) => message.body === 'during 20');
    await down();
    await world.server.start();
    await during;
    await writer.sendUntilStored(group, numbered(20, 'after'));

    const stored = (await world.ada.history(group)).filter(({ kind }) => kind === 'text').map(({ body }) => body);
    assert.deepEqual(stored, ['before', 'during', 'after'].flatMap((prefix) => numbered(prefix === 'during' ? 300 : 20, prefix)));
    for (const reader of [writer, ...readers]) {
      await reader.getsBodies(group, stored);
      assert.deepEqual(reader.stateNames(), ['reconnecting', 'reconnected'], reader.name);
    }
  });
}

test('a server that stops says so, with leave to come back', async (t) => {
  const readers = await Promise.all(ROWS.map(async (row) => Object.assign(await world.connect(t, world.bob, row), { row })));
  await world.server.stop();
  for (const { row, states } of readers) {
    await eventually(`${row.name} is told`, () => assert.equal(states.length, 1));
    assert.equal(states[0].state, 'closed');
    assert.equal(states[0].error, undefined, `${row.name} is told of no error, but ${states[0].error}`);
  }
  await world.server.start();
});
