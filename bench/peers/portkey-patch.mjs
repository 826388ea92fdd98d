// Portkey 1.15 appends to the headers of what fetch answers, which Node 20 and later forbid: every streamed call is
// a 500 there. A response of one's own has headers that may be changed.
const fetched = globalThis.fetch;
globalThis.fetch = async (...request) => {
  const answer = await fetched(...request);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers: new Headers(answer.headers) });
};
