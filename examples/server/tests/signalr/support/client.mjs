import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import signalR from '@microsoft/signalr';
import { eventually } from '../../browser/support/wait.mjs';

export const EVENTS = [
  'messageCreated',
  'messageEdited',
  'messageDeleted',
  'chatAdded',
  'chatUpdated',
  'chatRemoved',
  'readMoved',
  'deliveredMoved',
  'typing',
  'presenceChanged',
  'chatReset',
  'caughtUp',
];

/** Tries again at once, then often, and longer than any server here needs to come back. */
export const KEEP_TRYING = [0, ...Array(100).fill(200)];

/**
 * The official client, with what it was told in the order in which it came. It keeps the revisions of its chats as every client
 * must, and notes what breaks the promise about them in `faults`.
 */
export class Client {
  events = [];
  /** `reconnecting`, `reconnected` and `closed`, as they were reported. */
  states = [];
  /** Why the client tries to connect again, or why an attempt failed. */
  reasons = [];
  faults = [];
  revisions = new Map();
  #readElsewhere = new Set();

  /**
   * Options: `stateful`, `reconnect` (delays), `resume` (ask for what was missed after each new connection), `url` (such as a
   * proxy's), `query`, `http` (further options of the client).
   */
  constructor(person, url, row, { stateful, reconnect, resume, query = '', http = {} } = {}) {
    Object.assign(this, { person, row });
    const builder = new signalR.HubConnectionBuilder()
      .withUrl(`${url}/api/v1/hub${query}`, { accessTokenFactory: () => person.token, transport: row.transport, ...http })
      .withHubProtocol(row.protocol())
      .configureLogging(signalR.LogLevel.None);
    if (stateful) builder.withStatefulReconnect();
    if (reconnect) builder.withAutomaticReconnect(this.#policy(reconnect));
    this.connection = builder.build();
    for (const name of EVENTS) this.connection.on(name, (payload) => this.#receive(name, payload));
    this.connection.onreconnecting((error) => this.states.push({ state: 'reconnecting', error }));
    this.connection.onclose((error) => this.states.push({ state: 'closed', error }));
    this.connection.onreconnected(() => {
      this.states.push({ state: 'reconnected' });
      // A connection that is lost again before the answer asks again after the next one.
      if (resume) this.resume().catch((error) => isLost(error) || this.faults.push(`Resume: ${error.message}`));
    });
  }

  #policy(delays) {
    return {
      nextRetryDelayInMilliseconds: ({ previousRetryCount, retryReason }) => {
        this.reasons.push(retryReason.message);
        return delays[previousRetryCount] ?? null;
      },
    };
  }

  #receive(name, payload) {
    this.events.push({ name, payload });
    if (name === 'chatAdded' || name === 'chatReset') this.revisions.set(payload.chat.id, payload.chat.revision);
    if (name === 'chatRemoved') this.revisions.delete(payload.chatId);
    if (payload.revision === undefined) return;
    const known = this.revisions.get(payload.chatId);
    // What was read elsewhere may still be on its way as an event.
    if (this.#readElsewhere.has(payload.chatId) && payload.revision <= known) return;
    this.#readElsewhere.delete(payload.chatId);
    // No test changes a message while a client is away, so that a catch-up has nothing to merge and skips nothing either.
    if (known !== undefined && payload.revision !== known + 1) {
      this.faults.push(`${name} has revision ${payload.revision} after ${known}`);
    }
    this.revisions.set(payload.chatId, payload.revision);
  }

  start() {
    return this.connection.start();
  }

  stop() {
    return this.connection.stop();
  }

  call(method, fields = {}) {
    return this.connection.invoke(method, fields);
  }

  send(chat, body, fields = {}) {
    return this.call('SendMessage', { chatId: chat.id, body, ...fields });
  }

  /** All at once; the answers in the order of the bodies. */
  sendAll(chat, bodies) {
    return Promise.all(bodies.map((body) => this.send(chat, body)));
  }

  /** As `sendAll`, over as many connections as it takes: what has no answer is sent again under the same name. */
  async sendUntilStored(chat, bodies) {
    let open = bodies.map((body) => ({ chatId: chat.id, body, clientId: randomUUID() }));
    while (open.length > 0) {
      await eventually('connected', () => assert.equal(this.connection.state, 'Connected'), 30_000);
      const results = await Promise.allSettled(open.map((message) => this.call('SendMessage', message)));
      const refused = results.find(({ status, reason }) => status === 'rejected' && !isLost(reason));
      if (refused) throw refused.reason;
      open = open.filter((_, index) => results[index].status === 'rejected');
    }
  }

  /** What is known of a chat from elsewhere, so that the first event is checked, too. */
  knows(chat, revision = chat.revision) {
    this.revisions.set(chat.id, revision);
    this.#readElsewhere.add(chat.id);
    return this;
  }

  resume() {
    return this.call('Resume', { chats: Object.fromEntries(this.revisions) });
  }

  stream(method, fields) {
    const items = [];
    let subscription;
    const done = new Promise((resolve, reject) => {
      subscription = this.connection.stream(method, fields).subscribe({
        next: (item) => items.push(item),
        complete: resolve,
        error: reject,
      });
    });
    return { items, done, cancel: () => subscription.dispose() };
  }

  payloads(name) {
    return this.events.filter((event) => event.name === name).map(({ payload }) => payload);
  }

  /** The texts of the new messages of a chat, in the order in which they came. */
  bodies(chat) {
    return this.payloads('messageCreated').filter(({ chatId }) => chatId === chat.id).map(({ message }) => message.body);
  }

  async gets(name, matches = () => true, timeoutMs = 10_000) {
    return eventually(`${name} comes`, () => {
      const found = this.payloads(name).find(matches);
      assert.ok(found, `there are ${this.events.map((event) => event.name).join(', ') || 'no events'}`);
      return found;
    }, timeoutMs);
  }

  async getsBodies(chat, bodies, timeoutMs = 20_000) {
    await eventually(`${bodies.length} messages come`, () => {
      const count = this.bodies(chat).length;
      assert.ok(count >= bodies.length, `there are ${count}; faults: ${this.faults.slice(0, 3)}`);
    }, timeoutMs);
    assert.deepEqual(this.bodies(chat), bodies);
  }

  stateNames() {
    return this.states.map(({ state }) => state);
  }

  async isIn(...states) {
    return eventually(`the states are ${states}`, () => assert.deepEqual(this.stateNames(), states), 20_000);
  }
}

/** Whether an invocation failed because its connection or its server went, and not because the hub refused it. */
function isLost(error) {
  const text = error.message ?? String(error);
  return /HubException: unavailable: /.test(text) || !/HubException|Failed to invoke/.test(text);
}

export const numbered = (count, prefix = 'message') => Array.from({ length: count }, (_, index) => `${prefix} ${index}`);
