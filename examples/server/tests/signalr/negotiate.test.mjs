// The first request of a connection: which versions, which transports, and who may ask.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestsOf, TRANSPORTS } from './support/http.mjs';
import { openRawSocket } from './support/raw-socket.mjs';
import { ROWS, WEB_SOCKETS } from './support/rows.mjs';
import { useWorld } from './support/world.mjs';

const world = useWorld();
const ada = requestsOf(world, () => world.ada);
const nobody = requestsOf(world);

const ID = /^[A-Za-z0-9_-]{22}(?:[A-Za-z0-9_-]{22})?$/;

test('version 1 has an id, a token and the transports', async () => {
  const response = await ada.request('POST', '/negotiate?negotiateVersion=1');
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^application\/json\b/);
  const { connectionId, connectionToken, ...rest } = JSON.parse(response.text);
  assert.match(connectionId, ID);
  assert.match(connectionToken, ID);
  assert.notEqual(connectionId, connectionToken);
  assert.deepEqual(rest, { negotiateVersion: 1, availableTransports: TRANSPORTS });
});

test('version 0, and no version, have no token', async () => {
  for (const target of ['/negotiate', '/negotiate?negotiateVersion=0']) {
    const { connectionId, ...rest } = await ada.negotiate(target);
    assert.match(connectionId, ID);
    assert.deepEqual(rest, { negotiateVersion: 0, availableTransports: TRANSPORTS });
  }
});

test('a later version is answered with version 1', async () => {
  for (const version of [2, 99]) {
    const { negotiateVersion, connectionToken } = await ada.negotiate(`/negotiate?negotiateVersion=${version}`);
    assert.equal(negotiateVersion, 1);
    assert.match(connectionToken, ID);
  }
});

test('names in the query are read without regard to case', async () => {
  const { negotiateVersion, useStatefulReconnect } = await ada.negotiate('/negotiate?NEGOTIATEVERSION=1&USESTATEFULRECONNECT=true');
  assert.deepEqual({ negotiateVersion, useStatefulReconnect }, { negotiateVersion: 1, useStatefulReconnect: true });
});

test('no two connections have an id or a token in common', async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => ada.negotiate()));
  const words = answers.flatMap(({ connectionId, connectionToken }) => [connectionId, connectionToken]);
  assert.equal(new Set(words).size, 100);
});

test('stateful reconnect is offered to those who ask for it, and to no others', async () => {
  assert.equal((await ada.negotiate('/negotiate?negotiateVersion=1&useStatefulReconnect=true')).useStatefulReconnect, true);
  for (const query of ['', '&useStatefulReconnect=false']) {
    assert.ok(!('useStatefulReconnect' in (await ada.negotiate(`/negotiate?negotiateVersion=1${query}`))));
  }
});

for (const version of ['abc', '-1', '1.5', '']) {
  test(`the version “${version}” is an error in an answer of status 200, which clients show`, async (t) => {
    const target = `/negotiate?negotiateVersion=${version}`;
    const response = await ada.request('POST', target);
    assert.equal(response.status, 200);
    const { error, ...rest } = JSON.parse(response.text);
    assert.ok(error.length > 0);
    assert.deepEqual(rest, {});
    const client = await world.client(t, world.ada, ROWS[0], { query: `?negotiateVersion=${version}` });
    await assert.rejects(client.start(), ({ message }) => message.includes(error));
  });
}

test('other methods are not allowed', async () => {
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
    const response = await ada.request(method, '/negotiate?negotiateVersion=1');
    assert.equal(response.status, 405, method);
  }
});

test('without a token, or with a wrong one, everything is refused before anything else', async () => {
  const { connectionToken } = await ada.negotiate();
  const stranger = requestsOf(world, () => ({ token: 'x'.repeat(43) }));
  for (const who of [nobody, stranger]) {
    for (const [method, target] of [
      ['POST', '/negotiate?negotiateVersion=1'],
      ['POST', '/negotiate?negotiateVersion=abc'],
      ['GET', ''],
      ['GET', `?id=${connectionToken}`],
      ['POST', `?id=${connectionToken}`],
      ['DELETE', `?id=${connectionToken}`],
      ['GET', '?id=unknown'],
    ]) {
      assert.equal((await who.request(method, target)).status, 401, `${method} ${target}`);
    }
    assert.equal((await who.listen(connectionToken)).status, 401);
  }
  for (const target of ['/api/v1/hub', `/api/v1/hub?id=${connectionToken}`, '/api/v1/hub?access_token=wrong']) {
    assert.equal((await openRawSocket(world.server.port, target)).status, 401, target);
  }
});

test('a token in the query does as well, for each kind of request', async () => {
  const { token } = world.ada;
  const negotiated = await nobody.negotiate(`/negotiate?negotiateVersion=1&access_token=${token}`);
  assert.match(negotiated.connectionToken, ID);
  const target = `?id=${negotiated.connectionToken}&access_token=${encodeURIComponent(token)}`;
  assert.equal((await nobody.request('GET', target)).status, 200);
  assert.equal((await nobody.request('POST', target, { body: '{"protocol":"json","version":1}\x1e' })).status, 200);
  assert.equal((await nobody.request('GET', target)).text, '{}\x1e');
  assert.equal((await nobody.request('DELETE', target)).status, 202);
  const socket = await openRawSocket(world.server.port, `/api/v1/hub?access_token=${token}`);
  assert.equal(socket.status, 101);
  socket.close();
});

test('a client with a wrong token is told of 401', async (t) => {
  for (const row of ROWS) {
    const client = await world.client(t, { token: 'wrong' }, row);
    await assert.rejects(client.start(), /401/);
  }
});

for (const row of WEB_SOCKETS) {
  test(`${row.name}: a client may leave negotiation out`, async (t) => {
    const client = await world.connect(t, world.ada, row, { http: { skipNegotiation: true } });
    assert.equal(client.connection.connectionId, null);
    assert.equal((await client.call('GetMe')).id, world.ada.id);
  });

  test(`${row.name}: the token in the query of the hub's address, as browsers send it`, async (t) => {
    const client = await world.connect(t, world.ada, row, {
      query: `?access_token=${world.ada.token}`,
      http: { accessTokenFactory: undefined },
    });
    assert.equal((await client.call('GetMe')).id, world.ada.id);
  });
}
