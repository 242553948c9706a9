"""A chain, a tool and answers of LangChain's own fake models, for the tests of its callbacks."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

import localops
from localops.langchain import AsyncLangchainCallbackHandler, LangchainCallbackHandler

__all__ = [
    "AsyncLangchainCallbackHandler",
    "FakeMessagesListChatModel",
    "InMemoryCache",
    "LangchainCallbackHandler",
    "RunnableLambda",
]

ANSWER = AIMessage(
    "4 m",
    usage_metadata={"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
    response_metadata={"model_name": "gpt-4o", "finish_reason": "stop"},
)
PROMPT = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "{question}")])


@tool
def tides(port: str) -> str:
    """Say how high the tide is."""
    if not port:
        raise ValueError("which port?")
    return f"4 m in {port}"


class SelfRecording(FakeMessagesListChatModel):
    """A model whose client records its call."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        localops.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1, completion_tokens=1))
        return super()._generate(*args, **kwargs)


def chain() -> Any:
    """Return a chain of a prompt and a model, which answers what it has."""
    return PROMPT | FakeMessagesListChatModel(responses=[ANSWER])


def end(handler: LangchainCallbackHandler, run: uuid.UUID) -> None:
    """End the run of a model with that answer."""
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=ANSWER)]]), run_id=run)
