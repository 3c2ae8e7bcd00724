// Automatic reconnect: a new connection each time, and `Resume` for what was missed between two of them.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { KEEP_TRYING, numbered } from './support/client.mjs';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const RECONNECTS = { reconnect: KEEP_TRYING, resume: true };

const sorted = (bodies) => [...bodies].sort();

for (const row of ROWS) {
  const name = (what) => `${row.name}, automatic reconnect: ${what}`;

  test(name('the reader is cut off three times, and misses and repeats nothing'), async (t) => {
    const group = await world.group();
    const ada = (await world.connect(t, world.ada, row)).knows(group);
    const bob = (await world.connect(t, world.bob, row, { ...RECONNECTS, line: true })).knows(group);
    const expected = [];
    for (const [round, how] of ['rst', 'fin', 'rst'].entries()) {
      const bodies = numbered(70, `round ${round}`);
      expected.push(...bodies);
      bob.proxy.dropAfter('down', 10_000, how);
      await ada.sendAll(group, bodies);
      await bob.getsBodies(group, expected);
      await eventually('connected again', () => assert.equal(bob.stateNames().filter((state) => state === 'reconnected').length, round + 1));
    }
    assert.equal(bob.proxy.counts.cuts, 3);
    assert.deepEqual(bob.stateNames(), Array(3).fill(['reconnecting', 'reconnected']).flat());
    await ada.getsBodies(group, expected);
  });

  test(name('the writer is cut off three times, and each message is stored once'), async (t) => {
    const group = await world.group();
    const ada = (await world.connect(t, world.ada, row, { ...RECONNECTS, line: true })).knows(group);
    const bob = (await world.connect(t, world.bob, row)).knows(group);
    const expected = [];
    for (const [round, how] of ['fin', 'rst', 'fin'].entries()) {
      const bodies = numbered(60, `round ${round}`);
      expected.push(...bodies);
      ada.proxy.dropAfter('up', 6000, how);
      await ada.sendUntilStored(group, bodies);
    }
    const stored = (await world.ada.history(group)).filter(({ kind }) => kind === 'text').map(({ body }) => body);
    assert.deepEqual(sorted(stored), sorted(expected));
    // Over POST the client may overtake itself: the batch behind one that failed can still get through.
    if (row.transportName === 'WebSockets') assert.deepEqual(stored, expected);
    for (const client of [ada, bob]) await client.getsBodies(group, stored);
    assert.equal(ada.proxy.counts.cuts, 3);
    assert.ok(ada.stateNames().includes('reconnected'));
    assert.deepEqual(bob.stateNames(), []);
  });

  test(name('a way that is closed for a while'), async (t) => {
    const group = await world.group();
    const bob = (await world.connect(t, world.bob, row, { ...RECONNECTS, line: true, live: false })).knows(group);
    bob.proxy.cut();
    await bob.isIn('reconnecting');
    const answers = await Promise.all(numbered(30).map((body) => world.ada.send(group, body)));
    await eventually('the client has tried in vain', () => assert.ok(bob.reasons.length >= 3));
    bob.proxy.restore();
    await bob.isIn('reconnecting', 'reconnected');
    await bob.gets('caughtUp');
    const bySeq = answers.sort((one, other) => one.seq - other.seq).map(({ body }) => body);
    assert.deepEqual(bob.bodies(group), bySeq, 'all of it came before `caughtUp`');
  });
}

describe('other endings', { concurrency: true }, () => {
  for (const row of ROWS) {
    test(`${row.name}: without automatic reconnect a cut is told once`, async (t) => {
      const bob = await world.connect(t, world.bob, row, { line: true });
      bob.proxy.drop('rst');
      await bob.isIn('closed');
      await assert.rejects(bob.call('GetMe'), /not in the 'Connected' State/);
      await bob.start();
      assert.equal((await bob.call('GetMe')).id, world.bob.id);
    });

    test(`${row.name}: a client that stops is gone for others`, async (t) => {
      const [guest, watcher] = [await world.person('Guest'), await world.connect(t, world.ada, row)];
      await watcher.call('WatchPresence', { userIds: [guest.id] });
      const visit = await world.connect(t, guest, row, { reconnect: KEEP_TRYING });
      await watcher.gets('presenceChanged', ({ userId, online }) => userId === guest.id && online);
      await visit.stop();
      assert.deepEqual(visit.stateNames(), ['closed']);
      assert.equal(visit.states[0].error, undefined);
      // Sooner than any grace: the client has said goodbye.
      await watcher.gets('presenceChanged', ({ userId, online }) => userId === guest.id && !online, 12_000);
    });
  }

  for (const row of WEB_SOCKETS) {
    test(`${row.name}: a server that falls silent is given up by the client`, async (t) => {
      const group = await world.group();
      const bob = (await world.client(t, world.bob, row, { ...RECONNECTS, line: true })).knows(group);
      bob.connection.serverTimeoutInMilliseconds = 2000;
      bob.connection.keepAliveIntervalInMilliseconds = 500;
      await bob.start();
      bob.proxy.freeze();
      await world.ada.send(group, 'unheard');
      await bob.isIn('reconnecting');
      bob.proxy.drop('rst');
      bob.proxy.thaw();
      await eventually('connected again', () => assert.ok(bob.stateNames().includes('reconnected')), 20_000);
      await bob.getsBodies(group, ['unheard']);
    });
  }
});
