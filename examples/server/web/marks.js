const DELIVERED_DELAY_MS = 300;
const READ_EVERY_MS = 1_000;
/** How many messages of a chat are remembered as seen that lie beyond one that was not. */
const MAX_SEEN = 2_000;

/** Moves one's own marks: delivered as messages come in, read as they are seen. */
export function createMarks({ state, request, refreshChat }) {
  const delivered = new Map();
  const toDeliver = new Set();
  let timer = null;
  /** chatId → where one has come to with reading, and how the server is told of it. */
  const readings = new Map();

  function sendDelivered() {
    timer = null;
    for (const chatId of toDeliver) {
      const chat = state.chats.get(chatId)?.chat;
      if (!chat || chat.lastSeq <= Math.max(chat.me.readSeq, delivered.get(chatId) ?? 0)) continue;
      const seq = chat.lastSeq;
      request('MarkDelivered', { chatId, seq }).then(() => delivered.set(chatId, seq), () => {});
    }
    toDeliver.clear();
  }

  function readingOf(chatId) {
    if (!readings.has(chatId)) readings.set(chatId, { seen: new Set(), seq: 0, sentAt: -Infinity, timer: null, underWay: false });
    return readings.get(chatId);
  }

  const readTo = (entry) => Math.max(entry.chat.me.readSeq, readings.get(entry.id)?.seq ?? 0);

  /** One request per chat at a time, and one in a second. */
  function sendSoon(chatId, waitMs = 0) {
    const reading = readingOf(chatId);
    if (reading.timer !== null || reading.underWay) return;
    const pauseMs = Math.max(waitMs, reading.sentAt + READ_EVERY_MS - Date.now());
    const send = () => {
      reading.timer = null;
      sendRead(chatId, reading);
    };
    if (pauseMs > 0) reading.timer = setTimeout(send, pauseMs);
    else send();
  }

  async function sendRead(chatId, reading) {
    const { seq } = reading;
    if (seq <= (state.chats.get(chatId)?.chat.me.readSeq ?? Infinity)) return;
    reading.underWay = true;
    reading.sentAt = Date.now();
    const outcome = await request('MarkRead', { chatId, seq }).catch((problem) => ({ problem }));
    reading.underWay = false;
    if (outcome.problem) return onRefused(chatId, reading, outcome.problem);
    takeMark(chatId, outcome);
    if (reading.seq > seq) sendSoon(chatId);
    else reading.seq = 0;
  }

  function onRefused(chatId, reading, problem) {
    // Without a connection, the next one tries again.
    if (problem.code === 'network') return;
    if (problem.isTransient) sendSoon(chatId, problem.waitMs);
    else reading.seq = 0;
  }

  function takeMark(chatId, { readSeq, unread }) {
    const entry = state.chats.get(chatId);
    if (!entry) return;
    if (!entry.moveReadMark(readSeq)) {
      entry.chat.me.unread = unread;
      refreshChat(chatId);
    }
    state.changed('chats', 'marks');
  }

  function moveTo(entry, seq) {
    const reading = readingOf(entry.id);
    if (seq <= readTo(entry)) return;
    reading.seq = seq;
    sendSoon(entry.id);
  }

  return {
    delivered(chatId) {
      toDeliver.add(chatId);
      timer ??= setTimeout(sendDelivered, DELIVERED_DELAY_MS);
    },

    /** Takes in which messages someone has seen. What they have seen without leaving one out, from the read mark on, is read. */
    seen(entry, seqs) {
      const { seen } = readingOf(entry.id);
      let seq = entry.chat.me.unread === 0 ? Math.max(readTo(entry), entry.chat.lastSeq) : readTo(entry);
      for (const one of seqs) if (one > seq) seen.add(one);
      while (seen.delete(seq + 1)) seq += 1;
      while (seen.size > MAX_SEEN) seen.delete(seen.values().next().value);
      if (seqs.length > 0) moveTo(entry, seq);
    },

    /** Takes the chat's messages as read on someone's word. */
    readAll: (entry) => moveTo(entry, entry.chat.lastSeq),

    /** Up to where all is read, whether or not the server knows of it yet. */
    readTo,

    /** Whether someone has seen a message, or was told that it is read. */
    hasSeen: (entry, seq) => seq <= readTo(entry) || (readings.get(entry.id)?.seen.has(seq) ?? false),

    /** Forgets what was seen beyond messages that were not; it lets the rest be told. */
    left(entry) {
      readings.get(entry.id)?.seen.clear();
    },

    /** After a lost connection, tells the marks again that did not get through. */
    retry() {
      for (const chatId of readings.keys()) sendSoon(chatId);
    },
  };
}

/** Whether someone is looking at the open chat: on a phone, a dialog lies over all of it. */
export function isAttended() {
  return document.visibilityState === 'visible' && document.hasFocus() && !document.querySelector('dialog[open]');
}
