import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

/** A person who uses the API without a browser, for what a test needs to exist beforehand and for looking at what is stored. */
export async function registerPerson(baseUrl, displayName) {
  // Names are unique for each run, since the store may be an old one.
  const username = `${displayName.split(' ')[0].toLowerCase()}-${randomUUID().slice(0, 8)}`;
  const credentials = { username, email: `${username}@example.org`, password: `pw-${randomUUID()}`, displayName };
  return personOf(baseUrl, credentials, await call(baseUrl, null, 'POST', '/auth/register', credentials));
}

function personOf(baseUrl, credentials, { user, token }) {
  const api = (method, path, body) => call(baseUrl, token, method, path, body);

  return {
    ...credentials,
    id: user.id,
    token,
    api,
    /** The same person in another session. */
    async logInAgain() {
      const again = await call(baseUrl, null, 'POST', '/auth/login', { login: credentials.username, password: credentials.password });
      return personOf(baseUrl, credentials, again);
    },
    openDirect: (other) => api('POST', '/chats/direct', { userId: other.id }),
    createGroup: (title, members) => api('POST', '/chats/group', { title, memberIds: members.map(({ id }) => id) }),
    send: (chat, body, fields = {}) => api('POST', `/chats/${chat.id}/messages`, { body, ...fields }),
    async history(chat) {
      const messages = [];
      for (let after = 0, more = true; more; after = messages.at(-1)?.seq) {
        const page = await api('GET', `/chats/${chat.id}/messages?after=${after}&limit=200`);
        messages.push(...page.items);
        more = page.hasMoreAfter;
      }
      return messages;
    },
  };
}

async function call(baseUrl, token, method, path, body) {
  const response = await fetch(`${baseUrl}/api/v1${path}`, {
    method,
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}
