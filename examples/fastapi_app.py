"""FastAPI: whose each request is becomes whose its LLM calls are.

FAREBOX_KEY=fbx_… OPENAI_API_KEY=sk-… uvicorn examples.fastapi_app:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

from farebox import AsyncFarebox, LimitExceeded
from farebox.client.middleware import AsgiContext, nobody

fb = AsyncFarebox()
openai = fb.wrap(AsyncOpenAI())
SESSIONS = {"token-of-ann": ("acme", "ann"), "token-of-ben": ("globex", "ben")}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await fb.flushed()


app = FastAPI(lifespan=lifespan)
app.add_middleware(AsgiContext, who=nobody)  # what a request says of its user ends with it


async def caller(authorization: Annotated[str, Header()]) -> str:
    """Async, because what a function in another thread says of its context is lost with that thread."""
    found = SESSIONS.get(authorization.removeprefix("Bearer "))
    if found is None:
        raise HTTPException(401, "who are you?")
    fb.context(tenant_id=found[0], user_id=found[1])
    return found[1]


Caller = Annotated[str, Depends(caller)]


class Text(BaseModel):
    text: str


@app.post("/summaries")
async def summarize(asked: Text, _: Caller) -> dict[str, str | None]:
    with fb.context(feature="summarize"):
        answer = await openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt(asked))
    return {"summary": answer.choices[0].message.content}


@app.post("/chat")
async def chat(asked: Text, _: Caller) -> StreamingResponse:
    with fb.context(feature="chat"):
        pieces = await openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt(asked), stream=True)

    async def words() -> AsyncIterator[str]:
        async for piece in pieces:
            yield piece.choices[0].delta.content or ""

    return StreamingResponse(words(), media_type="text/plain")


@app.exception_handler(LimitExceeded)
async def used_up(_: Request, full: LimitExceeded) -> JSONResponse:
    return JSONResponse({"error": full.message, "resets_at": full.reset_at}, 429)


def prompt(asked: Text) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked.text}]
