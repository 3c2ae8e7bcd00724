/** The address of a chat within the page. */
export const chatHash = (chatId) => `#/chat/${chatId}`;

export const chatIdOf = (hash) => hash.match(/^#\/chat\/([\w-]+)$/)?.[1] ?? null;
