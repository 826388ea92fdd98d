"""LangChain's ChatOpenAI (PyPI): see tests/it/sdk.rs."""

import os

from langchain_openai import ChatOpenAI

BASE = os.environ["BASE"]
prompt = "/demo tokens=30 tps=200 seed=6 unicode"

for responses in [False, True]:
    model = ChatOpenAI(
        model="demo",
        base_url=BASE,
        api_key="none",
        max_retries=0,
        stream_usage=True,
        use_responses_api=responses,
    )
    pieces = list(model.stream(prompt))
    streamed = pieces[0]
    for piece in pieces[1:]:
        streamed += piece
    whole = model.invoke(prompt)
    text = lambda message: message.text if isinstance(message.text, str) else message.text()
    assert text(streamed) == text(whole) and text(whole), (streamed, whole)
    assert len(pieces) > 10
    assert whole.usage_metadata["output_tokens"] == 30, whole.usage_metadata
    assert streamed.usage_metadata["output_tokens"] == 30, streamed.usage_metadata
    print("ok langchain", "responses" if responses else "chat", flush=True)
