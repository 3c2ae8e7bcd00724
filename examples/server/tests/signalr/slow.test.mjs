// A reader who stops reading is dropped, and nobody else is held up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numbered } from './support/client.mjs';
import { requestsOf } from './support/http.mjs';
import { HANDSHAKES, RawHub } from './support/raw-hub.mjs';
import { WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();

/** Messages of this size, so many that they fit into no buffer on the way. */
const BODY = 'x'.repeat(7900);
const COUNT = 3000;

test('readers that stop reading are dropped over each transport, and the others get every message', async (t) => {
  const people = await Promise.all(['Socket', 'Binary', 'Stream', 'Poll', 'Stateful'].map(world.person));
  const [socket, binary, stream, poll, stateful] = people;
  const group = await world.group(world.ada, [world.bob, ...people]);
  const ada = (await world.connect(t, world.ada, WEB_SOCKETS[1])).knows(group);
  const bob = (await world.connect(t, world.bob, WEB_SOCKETS[0])).knows(group);
  await ada.call('WatchPresence', { userIds: people.map(({ id }) => id) });

  const hubs = [
    await RawHub.open(world, socket),
    await RawHub.open(world, binary, { protocol: 'messagepack' }),
    await openStateful(stateful),
  ];
  for (const hub of hubs) hub.socket.socket.pause();
  const streaming = await stalledStream(stream);
  await heldPoll(poll);
  for (const person of people) await ada.gets('presenceChanged', ({ userId, online }) => userId === person.id && online);

  const bodies = numbered(COUNT, BODY);
  for (let from = 0; from < COUNT; from += 100) await ada.sendAll(group, bodies.slice(from, from + 100));
  for (const client of [ada, bob]) await client.getsBodies(group, bodies, 60_000);
  for (const person of people) {
    await ada.gets('presenceChanged', ({ userId, online }) => userId === person.id && !online, 90_000);
  }
  assert.deepEqual([...ada.stateNames(), ...bob.stateNames()], []);
  assert.equal((await bob.send(group, 'still here')).body, 'still here');

  for (const hub of hubs) hub.close();
  streaming.abort();
});

async function openStateful(person) {
  const { connectionToken } = await requestsOf(world, () => person).negotiate('/negotiate?negotiateVersion=1&useStatefulReconnect=true');
  const hub = await RawHub.open(world, person, { query: `?id=${connectionToken}`, handshake: '{"protocol":"json","version":2}\x1e' });
  // As the official client does at once; until then the server holds back what it counts.
  hub.send({ type: 6 });
  return hub;
}

/** An event stream of which nothing is read after the handshake. */
async function stalledStream(person) {
  const requests = requestsOf(world, () => person);
  const { connectionToken } = await requests.negotiate();
  const controller = new AbortController();
  const response = await fetch(world.hubUrl(`?id=${connectionToken}`), {
    headers: { authorization: `Bearer ${person.token}`, accept: 'text/event-stream' },
    signal: controller.signal,
  });
  assert.equal(response.status, 200);
  await requests.post(connectionToken, HANDSHAKES.json);
  return { response, abort: () => controller.abort() };
}

/** Long polls of which the last is answered and never followed by another. */
async function heldPoll(person) {
  const requests = requestsOf(world, () => person);
  const { connectionToken } = await requests.negotiate();
  await requests.poll(connectionToken);
  await requests.post(connectionToken, HANDSHAKES.json);
  assert.equal((await requests.poll(connectionToken)).text, '{}\x1e');
}
