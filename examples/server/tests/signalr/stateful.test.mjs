// Stateful reconnect: a line that breaks is taken up again, and the program above never hears of it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../browser/support/wait.mjs';
import { KEEP_TRYING, numbered } from './support/client.mjs';
import { WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const STATEFUL = { stateful: true, reconnect: KEEP_TRYING, resume: true, line: true };
const GRACE_MS = 15_000;

/** Drops the line again and again, each time after so many bytes; at the end all of it must have happened. */
function dropRepeatedly(proxy, plan) {
  const left = [...plan];
  const next = () => {
    if (left.length > 0) proxy.dropAfter(...left.shift(), next);
  };
  next();
  return { end: () => assert.equal(proxy.counts.cuts, plan.length, 'the test has cut as often as it meant to') };
}

/** The program was told nothing, and each cut cost one new WebSocket on the same connection. */
function wentUnnoticed(client, id, cuts) {
  assert.deepEqual(client.stateNames(), []);
  assert.equal(client.connection.connectionId, id);
  assert.equal(client.proxy.counts.webSockets, 1 + cuts);
}

const repeated = (direction, ...steps) => steps.map((bytes, index) => [direction, bytes, index % 2 ? 'fin' : 'rst']);

for (const row of WEB_SOCKETS) {
  const name = (what) => `${row.name}, stateful: ${what}`;

  test(name('300 messages are sent while the line is cut five times'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row, STATEFUL);
    const bob = await world.connect(t, world.bob, row);
    for (const client of [ada, bob]) client.knows(group);
    const id = ada.connection.connectionId;
    const plan = repeated('up', 1, 7_000, 12_345, 3_000, 9_999);
    const drops = dropRepeatedly(ada.proxy, plan);
    const bodies = numbered(300);
    const answers = await ada.sendAll(group, bodies);
    assert.deepEqual(answers.map(({ seq }) => seq), bodies.map((_, index) => index + 2));
    for (const client of [ada, bob]) await client.getsBodies(group, bodies);
    drops.end();
    wentUnnoticed(ada, id, plan.length);
  });

  test(name('300 messages are received while the line is cut five times'), async (t) => {
    const group = await world.group();
    const ada = await world.connect(t, world.ada, row);
    const bob = await world.connect(t, world.bob, row, STATEFUL);
    for (const client of [ada, bob]) client.knows(group);
    const id = bob.connection.connectionId;
    const plan = repeated('down', 1, 20_000, 777, 30_001, 15_000);
    const drops = dropRepeatedly(bob.proxy, plan);
    const bodies = numbered(300);
    await ada.sendAll(group, bodies);
    for (const client of [ada, bob]) await client.getsBodies(group, bodies);
    drops.end();
    wentUnnoticed(bob, id, plan.length);
  });

  test(name('two people write at the same time over lines that break'), async (t) => {
    const group = await world.group();
    const [ada, bob] = [await world.connect(t, world.ada, row, STATEFUL), await world.connect(t, world.bob, row, STATEFUL)];
    for (const client of [ada, bob]) client.knows(group);
    const ids = [ada, bob].map(({ connection }) => connection.connectionId);
    const plans = [repeated('up', 2_000, 8_000, 5_000), repeated('down', 9_000, 25_000, 4_000)];
    const drops = [ada, bob].map((client, index) => dropRepeatedly(client.proxy, plans[index]));
    const [adas, bobs] = [numbered(150, 'of Ada'), numbered(150, 'of Bob')];
    await Promise.all([ada.sendAll(group, adas), bob.sendAll(group, bobs)]);
    const history = (await world.ada.history(group)).filter(({ kind }) => kind === 'text').map(({ body }) => body);
    for (const [sender, bodies] of [['of Ada', adas], ['of Bob', bobs]]) {
      assert.deepEqual(history.filter((body) => body.startsWith(sender)), bodies);
    }
    for (const client of [ada, bob]) await client.getsBodies(group, history);
    for (const { end } of drops) end();
    [ada, bob].forEach((client, index) => wentUnnoticed(client, ids[index], plans[index].length));
  });

  test(name('a history goes on being streamed over cuts'), async (t) => {
    const group = await world.group();
    const writer = await world.connect(t, world.ada, row);
    await writer.sendAll(group, numbered(400));
    const bob = await world.connect(t, world.bob, row, STATEFUL);
    const id = bob.connection.connectionId;
    const plan = repeated('down', 1, 15_000, 40_000, 10_000);
    const drops = dropRepeatedly(bob.proxy, plan);
    const stream = bob.stream('StreamHistory', { chatId: group.id });
    await stream.done;
    assert.deepEqual(stream.items, await world.bob.history(group));
    drops.end();
    wentUnnoticed(bob, id, plan.length);
  });

  test(name('a line that is cut right after the start loses nothing'), async (t) => {
    const writer = await world.connect(t, world.ada, row);
    for (const [round, wait] of [0, 0, 1, 2, 3, 4, 5, 6, 8, 10].entries()) {
      const group = await world.group();
      const bob = (await world.client(t, world.bob, row, STATEFUL)).knows(group);
      await bob.start();
      const sent = writer.sendAll(group, numbered(20, `round ${round}`));
      await turns(wait);
      bob.proxy.drop(round % 2 ? 'fin' : 'rst');
      await sent;
      await writer.sendAll(group, numbered(20, `round ${round} again`));
      await bob.getsBodies(group, [...numbered(20, `round ${round}`), ...numbered(20, `round ${round} again`)]);
      wentUnnoticed(bob, bob.connection.connectionId, 1);
      await bob.stop();
    }
  });

  test(name('a line that stands still for a while and goes on is the same line'), async (t) => {
    const group = await world.group();
    const [ada, bob] = [await world.connect(t, world.ada, row), await world.connect(t, world.bob, row, STATEFUL)];
    for (const client of [ada, bob]) client.knows(group);
    const id = bob.connection.connectionId;
    bob.proxy.freeze();
    const fromBob = bob.sendAll(group, numbered(20, 'of Bob'));
    await ada.sendAll(group, numbered(200, 'of Ada'));
    // Longer than it takes to send an acknowledgement, several times.
    const until = Date.now() + 3000;
    await eventually('3 s are over', () => assert.ok(Date.now() > until));
    assert.deepEqual(bob.bodies(group), []);
    bob.proxy.thaw();
    await fromBob;
    for (const client of [ada, bob]) {
      await client.getsBodies(group, [...numbered(200, 'of Ada'), ...numbered(20, 'of Bob')]);
    }
    wentUnnoticed(bob, id, 0);
  });

  test(name('a cut while more waits than the buffer of either side holds'), async (t) => {
    const group = await world.group();
    const [ada, bob] = [await world.connect(t, world.ada, row, STATEFUL), await world.connect(t, world.bob, row, STATEFUL)];
    for (const client of [ada, bob]) client.knows(group);
    const ids = [ada, bob].map(({ connection }) => connection.connectionId);
    const bodies = numbered(100, 'x'.repeat(4000));
    const drops = [dropRepeatedly(ada.proxy, repeated('up', 120_000)), dropRepeatedly(bob.proxy, repeated('down', 120_000))];
    await ada.sendAll(group, bodies);
    for (const client of [ada, bob]) await client.getsBodies(group, bodies, 40_000);
    for (const { end } of drops) end();
    [ada, bob].forEach((client, index) => wentUnnoticed(client, ids[index], 1));
  });
}

/** Lets the event loop go round a few times, so that a cut falls at another point of a conversation. */
async function turns(count) {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setTimeout(resolve, turn));
}

describe('after the grace', { concurrency: true }, () => {
  for (const row of WEB_SOCKETS) {
    test(`${row.name}, stateful: who comes back too late connects anew and is caught up`, async (t) => {
      const guest = await world.person('Guest');
      const group = await world.group(world.ada, [guest]);
      const ada = await world.connect(t, world.ada, row);
      const late = await world.connect(t, guest, row, STATEFUL);
      late.knows(group);
      const id = late.connection.connectionId;
      const about = ({ userId }) => userId === guest.id;
      await ada.call('WatchPresence', { userIds: [guest.id] });
      await ada.sendAll(group, numbered(5, 'before'));
      await late.getsBodies(group, numbered(5, 'before'));

      // The client doesn't know yet, so that its one attempt to take up the line comes when the time is over.
      late.proxy.dropServerSide();
      const cutAt = Date.now();
      await ada.sendAll(group, numbered(50, 'meanwhile'));
      const isGone = ({ userId, online }) => userId === guest.id && !online;
      await ada.gets('presenceChanged', isGone, 40_000);
      assert.ok(Date.now() - cutAt >= GRACE_MS, 'the connection was kept for its grace');
      assert.deepEqual(late.stateNames(), []);

      late.proxy.drop('rst');
      await late.isIn('reconnecting', 'reconnected');
      assert.notEqual(late.connection.connectionId, id);
      await ada.sendAll(group, numbered(5, 'after'));
      await late.getsBodies(group, [...numbered(5, 'before'), ...numbered(50, 'meanwhile'), ...numbered(5, 'after')]);
      assert.equal(ada.payloads('presenceChanged').filter(about).at(-1).online, true);
    });
  }
});
