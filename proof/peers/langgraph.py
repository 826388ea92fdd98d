"""One model behind a graph of one step, as the quick start of LangGraph's development server has it."""
import os

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

model = ChatOpenAI(
    model="streamproof", base_url=os.environ["UPSTREAM"], api_key="none", stream_usage=True, max_retries=0
)


async def answer(state: MessagesState):
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END).compile()
