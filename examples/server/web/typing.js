const REPEAT_AFTER_MS = 3_000;

/** Tells a chat that one is typing, at most once every three seconds, and that one has stopped. */
export function createTyping({ request }) {
  let chatId = null;
  let saidAt = 0;

  const say = (typing) => request('SetTyping', { chatId, typing }).catch(() => {});

  return {
    typed(inChatId) {
      if (inChatId !== chatId) this.stopped();
      if (Date.now() - saidAt < REPEAT_AFTER_MS) return;
      chatId = inChatId;
      saidAt = Date.now();
      say(true);
    },
    stopped() {
      if (chatId) say(false);
      chatId = null;
      saidAt = 0;
    },
  };
}
