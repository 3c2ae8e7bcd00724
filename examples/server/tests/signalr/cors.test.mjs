// Web pages of other origins: those that are named may call the hub, and no others.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRawSocket } from './support/raw-socket.mjs';
import { useWorld } from './support/world.mjs';

const ORIGIN = 'https://chat.example.org';
const FOREIGN = 'https://elsewhere.example.net';
const world = useWorld({ MESSENGER_ALLOW_ORIGINS: `${ORIGIN},https://second.example.org` });

const ASKED = ['authorization', 'content-type', 'x-requested-with', 'x-signalr-user-agent'];

const preflight = (path, origin, method) =>
  fetch(world.hubUrl('', path), {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': ASKED.join(',') },
  });

const words = (header) => (header ?? '').toLowerCase().split(/\s*,\s*/);

for (const origin of [ORIGIN, 'https://second.example.org']) {
  test(`${origin}: preflights are answered without a token`, async () => {
    for (const [path, method] of [['/negotiate', 'POST'], ['', 'GET'], ['', 'POST'], ['', 'DELETE']]) {
      const { status, headers } = await preflight(path, origin, method);
      assert.ok(status === 200 || status === 204, `${status}`);
      assert.equal(headers.get('access-control-allow-origin'), origin);
      assert.equal(headers.get('access-control-allow-credentials'), 'true');
      assert.ok(words(headers.get('access-control-allow-methods')).includes(method.toLowerCase()));
      for (const name of ASKED) assert.ok(words(headers.get('access-control-allow-headers')).includes(name), name);
      assert.ok(words(headers.get('vary')).includes('origin'));
    }
  });
}

test('answers carry the origin, refusals too', async () => {
  const authorization = `Bearer ${world.ada.token}`;
  for (const [status, path, query, headers] of [
    [200, '/negotiate', '?negotiateVersion=1', { authorization }],
    [401, '/negotiate', '?negotiateVersion=1', {}],
    [404, '', '?id=unknown', { authorization }],
    [400, '', '', { authorization }],
  ]) {
    const response = await fetch(world.hubUrl(query, path), { method: 'POST', headers: { ...headers, origin: ORIGIN } });
    assert.equal(response.status, status);
    assert.equal(response.headers.get('access-control-allow-origin'), ORIGIN);
    assert.equal(response.headers.get('access-control-allow-credentials'), 'true');
    assert.ok(words(response.headers.get('vary')).includes('origin'));
  }
});

test('another origin is not named in any answer', async () => {
  assert.equal((await preflight('/negotiate', FOREIGN, 'POST')).headers.get('access-control-allow-origin'), null);
  const response = await fetch(world.hubUrl('?negotiateVersion=1', '/negotiate'), {
    method: 'POST',
    headers: { origin: FOREIGN, authorization: `Bearer ${world.ada.token}` },
  });
  assert.equal(response.headers.get('access-control-allow-origin'), null);
});

test('a WebSocket is opened for origins that may, for the own one and for clients that have none', async () => {
  const own = new URL(world.server.url).origin;
  const headers = { authorization: `Bearer ${world.ada.token}` };
  for (const more of [{ origin: ORIGIN }, { origin: own }, {}]) {
    const socket = await openRawSocket(world.server.port, '/api/v1/hub', { ...headers, ...more });
    assert.equal(socket.status, 101, JSON.stringify(more));
    socket.close();
  }
  for (const origin of [FOREIGN, 'null', `${own}0`, 'http://chat.example.org', `${ORIGIN}.elsewhere.net`]) {
    const socket = await openRawSocket(world.server.port, '/api/v1/hub', { ...headers, origin });
    assert.equal(socket.status, 403, origin);
  }
});
