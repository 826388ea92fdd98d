// The page of ai_sdk_browser.cjs: nothing but `useChat` with its default transport.
import { createElement as h, useState } from "react";
import { createRoot } from "react-dom/client";
import { useChat } from "@ai-sdk/react";
import { WebSocketChatTransport } from "ai";

const { searchParams, origin } = new URL(location.href);
const id = searchParams.get("chat");
const socket = origin.replace("http", "ws") + "/api/chat/ws";
const transport = searchParams.has("socket") && new WebSocketChatTransport({ url: socket });

function Chat() {
  const [seen, setSeen] = useState({ cursors: 0 });
  const chat = useChat({
    id,
    resume: true,
    ...(transport && { transport }),
    onData: (part) => part.type === "data-cursor" && setSeen((s) => ({ cursors: s.cursors + 1 })),
  });
  const answer = chat.messages.findLast((message) => message.role === "assistant");
  const parts = answer?.parts ?? [];
  window.chat = {
    send: (text) => chat.sendMessage({ text }),
    state: {
      status: chat.status,
      error: chat.error && String(chat.error),
      answers: chat.messages.filter((message) => message.role === "assistant").length,
      text: parts.map((part) => (part.type === "text" ? part.text : "")).join(""),
      kinds: parts.map((part) => part.type),
      id: answer?.id,
      cursors: seen.cursors,
    },
  };
  return h("pre", null, JSON.stringify(window.chat.state));
}

createRoot(document.body.appendChild(document.createElement("div"))).render(h(Chat));
