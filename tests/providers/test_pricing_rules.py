"""Each rule by which OpenAI, Anthropic, Google and Vertex AI bill: an answer as it comes, the vendor's own figures, and
what the call costs to the last digit. Through the readers, the charge and the table that ships.

A rule's arithmetic is the vendor's: `count x dollars` a million, `count @ dollars` each, and factors at the end.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from answers import JSON, Exchange

from farebox.core.money import format_usd
from farebox.core.price_rows import day_us
from farebox.providers.charging import Charged, charge
from farebox.providers.sheets import load_book

NOW = day_us("2026-11-21")
BOOK = load_book()
OPENAI = "developers.openai.com/api/docs/pricing"
RESIDENCY = "OpenAI's page on data residency: 10 % for models released on or after 2026-03-05"
CLAUDE = "platform.claude.com/docs/en/about-claude/pricing"
FAST = "platform.claude.com/docs/en/build-with-claude/fast-mode"
GOOGLE = "ai.google.dev/gemini-api/docs/pricing"
VERTEX = "cloud.google.com/vertex-ai/generative-ai/pricing"
CACHING = "docs.cloud.google.com/vertex-ai/generative-ai/docs/context-cache/context-cache-overview"
LITELLM = "LiteLLM 1.109.1"


class Call(NamedTuple):
    """A call and its answer. `host` is where the provider was reached."""

    provider: str
    path: str
    answer: Any
    request: Mapping[str, Any] = {}
    method: str = "POST"
    headers: Mapping[str, str] = JSON
    host: str = ""
    when_us: int = NOW


class Rule(NamedTuple):
    says: str
    source: str
    arithmetic: str
    dollars: str
    call: Call


def chat(model: str, usage: Mapping[str, Any], asked: str | None = None, host: str = "", **more: Any) -> Call:
    request = {"model": asked or model, "messages": []}
    answer = {"model": model, "choices": [{"message": {"content": "x"}}], "usage": usage, **more}
    return Call("openai", "/v1/chat/completions", answer, request, host=host)


def prompt(tokens: int, output: int = 0, **details: Any) -> dict[str, Any]:
    """OpenAI's usage: totals that include their parts."""
    out = {key: details.pop(key) for key in ("reasoning_tokens", "spoken") if key in details}
    spoken = {"audio_tokens": out.pop("spoken")} if "spoken" in out else {}
    return {
        "prompt_tokens": tokens,
        "completion_tokens": output,
        "total_tokens": tokens + output,
        "prompt_tokens_details": details,
        "completion_tokens_details": {**out, **spoken},
    }


def responses(model: str, tokens: int, written: int, **more: Any) -> Call:
    usage = {"input_tokens": tokens, "output_tokens": written, "total_tokens": tokens + written}
    answer = {"id": "resp_1", "object": "response", "status": "completed", "model": model, "output": [], "usage": usage}
    return Call("openai", "/v1/responses", {**answer, **more}, {"model": model})


def batch(model: str, usage: Mapping[str, Any]) -> Call:
    body = {"id": "x", "model": model, "choices": [], "usage": usage, "service_tier": "default"}
    line = {"custom_id": "1", "response": {"status_code": 200, "body": body}, "error": None}
    return Call("openai", "/v1/files/f/content", json.dumps(line).encode() + b"\n", method="GET")


def message(model: str, host: str = "", **usage: Any) -> Call:
    usage = {"output_tokens": 0, "input_tokens": 0, **usage}
    answer = {"type": "message", "model": model, "content": [], "stop_reason": "end_turn", "usage": usage}
    return Call("anthropic", "/v1/messages", answer, {"model": model}, host=host)


def results(call: Call) -> Call:
    """The same message as a batch's result."""
    usage = {**call.answer["usage"], "service_tier": "batch"}
    line = {"custom_id": "1", "result": {"type": "succeeded", "message": {**call.answer, "usage": usage}}}
    return call._replace(path="/v1/messages/batches/b/results", answer=json.dumps(line).encode(), method="GET")


def written(five_minutes: int = 0, hour: int = 0, **usage: Any) -> dict[str, Any]:
    """Anthropic's usage with cache writes."""
    split = {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}
    return {**usage, "cache_creation_input_tokens": five_minutes + hour, "cache_creation": split}


def metadata(tokens: int = 0, output: int = 0, thoughts: int = 0, cached: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "promptTokenCount": tokens,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": cached,
        "totalTokenCount": tokens + output + thoughts,
        **more,
    }


def generated(model: str, usage: Mapping[str, Any], grounding: Mapping[str, Any] | None = None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP", "groundingMetadata": grounding or {}}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}


def gemini(model: str, usage: Mapping[str, Any], tier: str = "standard", **grounding: Any) -> Call:
    headers = {**JSON, "x-gemini-service-tier": tier}
    path = f"/v1beta/models/{model}:generateContent"
    return Call("gemini", path, generated(model, usage, grounding), headers=headers)


def job(model: str, *usages: Mapping[str, Any]) -> Call:
    """A Gemini batch with these answers."""
    listed = [{"response": generated(model, usage)} for usage in usages]
    output = {"inlinedResponses": {"inlinedResponses": listed}}
    made = {"metadata": {"model": f"models/{model}", "output": output}, "response": output, "done": True}
    return Call("gemini", "/v1beta/batches/b", made, method="GET")


def vertex(answer: Any, what: str, location: str = "global") -> Call:
    return Call("vertex", f"/v1/projects/p/locations/{location}/{what}", answer)


def on_vertex(model: str, usage: Mapping[str, Any], location: str = "global", **grounding: Any) -> Call:
    what = f"publishers/google/models/{model}:generateContent"
    return vertex(generated(model, usage, grounding), what, location)


def claude_on_vertex(model: str, location: str, **usage: Any) -> Call:
    return vertex(message(model, **usage).answer, f"publishers/anthropic/models/{model}:rawPredict", location)


EU, US = "eu.api.openai.com", "us.api.openai.com"
IMAGES = "/v1/images/generations"
AUDIO = {"modality": "AUDIO", "tokenCount": 1000}
PICTURE = {"modality": "IMAGE", "tokenCount": 1290}

RULES = (
    # OpenAI
    Rule("cached tokens of GPT-4o at half", OPENAI, "600 x 2.5 + 400 x 1.25 + 100 x 10", "0.003000000000",
         chat("gpt-4o", prompt(1000, 100, cached_tokens=400))),
    Rule("cached tokens of GPT-4.1 at a quarter", OPENAI, "600 x 2 + 400 x 0.5 + 100 x 8", "0.002200000000",
         chat("gpt-4.1", prompt(1000, 100, cached_tokens=400))),
    Rule("cached tokens of GPT-5 at a tenth", OPENAI, "600 x 1.25 + 400 x 0.125 + 100 x 10", "0.001800000000",
         chat("gpt-5", prompt(1000, 100, cached_tokens=400))),
    Rule("cached tokens of GPT-6.1 at a twentieth", OPENAI, "600 x 2 + 400 x 0.1 + 100 x 10", "0.002240000000",
         chat("gpt-6.1-sol", prompt(1000, 100, cached_tokens=400))),
    Rule("reasoning is output", OPENAI, "1000 x 1.25 + 900 x 10", "0.010250000000",
         chat("gpt-5", prompt(1000, 900, reasoning_tokens=800))),
    Rule("writing a cache costs 1.25 times the input since GPT-5.6, inside the prompt", OPENAI,
         "100 x 4 + 500 x 0.4 + 400 x 5 + 10 x 20", "0.002800000000",
         chat("gpt-5.6-sol", prompt(1000, 10, cached_tokens=500, cache_write_tokens=400))),
    Rule("a cache of twelve hours costs twice a cache of thirty minutes", LITELLM,
         "300 x 5 + 100 x 10 + 600 x 4", "0.004900000000",
         chat("gpt-5.6-sol", prompt(1000, 0, cache_write_tokens=400, cache_write_tokens_details={
             "ttl_30m_tokens": 300, "ttl_12h_tokens": 100}))),
    Rule("before GPT-5.6 nothing is written for money", OPENAI, "1000 x 5", "0.005000000000",
         chat("gpt-5.5", prompt(1000))),
    Rule("272,000 tokens are a short prompt", OPENAI, "272000 x 2.5 + 100 x 15", "0.681500000000",
         chat("gpt-5.4", prompt(272_000, 100))),
    Rule("beyond them the whole call costs twice the input, 1.5 times the output", OPENAI,
         "272001 x 5 + 100 x 22.5", "1.362255000000", chat("gpt-5.4", prompt(272_001, 100))),
    Rule("cached tokens count for the length, and double too", OPENAI,
         "2001 x 10 + 270000 x 1 + 100 x 45", "0.294510000000",
         chat("gpt-5.5", prompt(272_001, 100, cached_tokens=270_000))),
    Rule("so do written ones", OPENAI, "1 x 8 + 272000 x 10 + 100 x 30", "2.723008000000",
         chat("gpt-5.6-sol", prompt(272_001, 100, cache_write_tokens=272_000))),
    Rule("long prompts in a batch", LITELLM, "300000 x 30 + 10 x 135", "9.001350000000",
         batch("gpt-5.5-pro", prompt(300_000, 10))),
    Rule("flex is half", OPENAI, "600 x 0.625 + 400 x 0.0625 + 100 x 5", "0.000900000000",
         chat("gpt-5", prompt(1000, 100, cached_tokens=400), service_tier="flex")),
    Rule("priority is twice", OPENAI, "1000 x 8 + 100 x 40", "0.012000000000",
         chat("gpt-5.6-sol", prompt(1000, 100), service_tier="priority")),
    Rule("priority of GPT-4o is 1.7 times", OPENAI, "1000 x 4.25 + 100 x 17", "0.005950000000",
         chat("gpt-4o", prompt(1000, 100), service_tier="priority")),
    Rule("ultrafast is six times", LITELLM, "1000 x 60 + 100 x 300", "0.090000000000",
         chat("gpt-6-astra", prompt(1000, 100), service_tier="ultrafast")),
    Rule("the tier is the one that served", OPENAI, "1000 x 1.25 + 100 x 10", "0.002250000000",
         chat("gpt-5", prompt(1000, 100), service_tier="default")._replace(
             request={"model": "gpt-5", "service_tier": "flex"})),
    Rule("a batch is half, though its lines say default", OPENAI,
         "600 x 0.625 + 400 x 0.0625 + 100 x 5", "0.000900000000",
         batch("gpt-5", prompt(1000, 100, cached_tokens=400))),
    Rule("not all of a batch is half: cached tokens of GPT-4.1", OPENAI,
         "600 x 1 + 400 x 0.5 + 100 x 4", "0.001200000000", batch("gpt-4.1", prompt(1000, 100, cached_tokens=400))),
    Rule("embeddings in a batch", OPENAI, "1000 x 0.01", "0.000010000000",
         batch("text-embedding-3-small", prompt(1000))),
    Rule("data residency is 10 % on tokens", RESIDENCY, "1000 x 2.5 + 100 x 15 * 1.1", "0.004400000000",
         chat("gpt-5.4", prompt(1000, 100), host=EU)),
    Rule("residency and cache writes", RESIDENCY, "600 x 4 + 400 x 5 + 100 x 20 * 1.1", "0.007040000000",
         chat("gpt-5.6-sol", prompt(1000, 100, cache_write_tokens=400), host=US)),
    Rule("older models pay none", RESIDENCY, "1000 x 2 + 100 x 8", "0.002800000000",
         chat("gpt-4.1", prompt(1000, 100), host=EU)),
    Rule("web searches, each", OPENAI, "1000 x 1.25 + 100 x 10 + 2 @ 0.01", "0.022250000000",
         responses("gpt-5", 1000, 100, tool_usage={"web_search": {"num_requests": 2}})),
    Rule("residency leaves fees alone", RESIDENCY, "1000 x 2.5 + 100 x 15 * 1.1 + 1 @ 0.01", "0.014400000000",
         responses("gpt-5.4", 1000, 100, tool_usage={"web_search": {"num_requests": 1}})._replace(host=EU)),
    Rule("search-preview models search at each call", OPENAI, "1000 x 2.5 + 100 x 10 + 1 @ 0.025", "0.028500000000",
         chat("gpt-4o-search-preview", prompt(1000, 100))),
    Rule("file searches, each", OPENAI, "1000 x 1.25 + 100 x 10 + 1 @ 0.0025", "0.004750000000",
         responses("gpt-5", 1000, 100, output=[{"type": "file_search_call", "id": "fs_1", "status": "completed"}])),
    Rule("code interpreter, a container", OPENAI, "1000 x 1.25 + 100 x 10 + 1 @ 0.03", "0.032250000000",
         responses("gpt-5", 1000, 100, output=[
             {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c1", "status": "completed"},
             {"type": "code_interpreter_call", "id": "ci_2", "container_id": "c1", "status": "completed"}])),
    Rule("audio tokens of a chat", OPENAI, "200 x 2.5 + 800 x 40 + 20 x 10 + 80 x 80", "0.039100000000",
         chat("gpt-4o-audio-preview", prompt(1000, 100, audio_tokens=800, spoken=80))),
    Rule("transcription by tokens", OPENAI, "40 x 2.5 + 160 x 6 + 50 x 10", "0.001560000000",
         Call("openai", "/v1/audio/transcriptions", {"text": "x", "usage": {
             "type": "tokens", "input_tokens": 200, "output_tokens": 50, "total_tokens": 250,
             "input_token_details": {"audio_tokens": 160, "text_tokens": 40}}}, {"model": "gpt-4o-transcribe"})),
    Rule("transcription by the minute", OPENAI, "2 @ 0.006", "0.012000000000",
         Call("openai", "/v1/audio/transcriptions", {"text": "x", "usage": {"type": "duration", "seconds": 120}},
              {"model": "whisper-1"})),
    Rule("speech by the character", OPENAI, "1000 x 15", "0.015000000000",
         Call("openai", "/v1/audio/speech", b"ID3", {"model": "tts-1", "input": "x" * 1000},
              headers={"content-type": "audio/mpeg"})),
    Rule("images by text and image tokens", OPENAI, "50 x 5 + 300 x 8 + 1000 x 32", "0.034650000000",
         Call("openai", IMAGES, {"data": [{"b64_json": "aGk="}], "usage": {
             "input_tokens": 350, "output_tokens": 1000, "total_tokens": 1350,
             "input_tokens_details": {"text_tokens": 50, "image_tokens": 300}}}, {"model": "gpt-image-1.5"})),
    Rule("images of DALL-E 3 by size and quality", OPENAI, "2 @ 0.12", "0.240000000000",
         Call("openai", IMAGES, {"data": [{"url": "u"}, {"url": "u"}]},
              {"model": "dall-e-3", "size": "1792x1024", "quality": "hd", "n": 2})),
    Rule("embeddings", OPENAI, "1000 x 0.02", "0.000020000000",
         Call("openai", "/v1/embeddings", {"model": "text-embedding-3-small", "data": [], "usage": {
             "prompt_tokens": 1000, "total_tokens": 1000}}, {"model": "text-embedding-3-small"})),
    Rule("moderation is free", OPENAI, "", "0.000000000000",
         Call("openai", "/v1/moderations", {"results": []}, {"model": "omni-moderation-latest"})),
    # Anthropic
    Rule("caches of five minutes and an hour, and reading one", CLAUDE,
         "100 x 5 + 1000 x 0.5 + 200 x 6.25 + 300 x 10 + 50 x 25", "0.006500000000",
         message("claude-opus-4-5", **written(200, 300, input_tokens=100, cache_read_input_tokens=1000,
                                              output_tokens=50))),
    Rule("reading at a twentieth: Opus 5.5", CLAUDE, "100 x 4 + 1000 x 0.2 + 50 x 20", "0.001600000000",
         message("claude-opus-5-5", input_tokens=100, cache_read_input_tokens=1000, output_tokens=50)),
    Rule("reading at a twentieth: Sonnet 5.5", CLAUDE, "100 x 2 + 1000 x 0.1 + 50 x 10", "0.000800000000",
         message("claude-sonnet-5-5", input_tokens=100, cache_read_input_tokens=1000, output_tokens=50)),
    Rule("reading at a fortieth: Fable 5.1", CLAUDE, "100 x 10 + 1000 x 0.25 + 50 x 50", "0.003750000000",
         message("claude-fable-5-1", input_tokens=100, cache_read_input_tokens=1000, output_tokens=50)),
    Rule("reading at a fortieth: Mythos 5.1", CLAUDE, "100 x 10 + 1000 x 0.25 + 50 x 50", "0.003750000000",
         message("claude-mythos-5-1", input_tokens=100, cache_read_input_tokens=1000, output_tokens=50)),
    Rule("thinking is output", CLAUDE, "100 x 5 + 50 x 25", "0.001750000000",
         message("claude-opus-4-5", input_tokens=100, output_tokens=50,
                 output_tokens_details={"thinking_tokens": 40})),
    Rule("a batch is half, caches too", CLAUDE,
         "100 x 2.5 + 1000 x 0.25 + 200 x 3.125 + 300 x 5 + 50 x 12.5", "0.003250000000",
         results(message("claude-opus-4-5", **written(200, 300, input_tokens=100, cache_read_input_tokens=1000,
                                                      output_tokens=50)))),
    Rule("a batch is half for older models", CLAUDE, "100 x 1.5 + 50 x 7.5", "0.000525000000",
         results(message("claude-sonnet-4-20250514", input_tokens=100, output_tokens=50))),
    Rule("fast mode is twice, caches too", FAST, "100 x 8 + 1000 x 0.4 + 200 x 10 + 50 x 40", "0.005200000000",
         message("claude-opus-5-5", speed="fast", **written(200, 0, input_tokens=100, cache_read_input_tokens=1000,
                                                            output_tokens=50))),
    Rule("fast mode of Opus 4.6 is six times", FAST, "100 x 30 + 1000 x 3 + 50 x 150", "0.013500000000",
         message("claude-opus-4-6", speed="fast", input_tokens=100, cache_read_input_tokens=1000, output_tokens=50)),
    Rule("asked for fast, served standard", FAST, "100 x 4 + 50 x 20", "0.001400000000",
         message("claude-opus-5-5", speed="standard", input_tokens=100, output_tokens=50)._replace(
             request={"model": "claude-opus-5-5", "speed": "fast"})),
    Rule("inference in the US is 10 % more", CLAUDE, "100 x 5 + 1000 x 0.5 + 200 x 6.25 + 50 x 25 * 1.1",
         "0.003850000000", message("claude-opus-4-6", inference_geo="us", **written(
             200, 0, input_tokens=100, cache_read_input_tokens=1000, output_tokens=50))),
    Rule("it stacks with fast mode", CLAUDE, "100 x 8 + 50 x 40 * 1.1", "0.003080000000",
         message("claude-opus-5-5", speed="fast", inference_geo="us", input_tokens=100, output_tokens=50)),
    Rule("it stacks with batches", CLAUDE, "100 x 2 + 50 x 10 * 1.1", "0.000770000000",
         results(message("claude-opus-5-5", inference_geo="us", input_tokens=100, output_tokens=50))),
    Rule("older models pay none", CLAUDE, "100 x 3 + 50 x 15", "0.001050000000",
         message("claude-sonnet-4-5", inference_geo="us", input_tokens=100, output_tokens=50)),
    Rule("Haiku 5.5 up to 100,000 tokens", CLAUDE, "100000 x 0.1 + 10 x 0.5", "0.010005000000",
         message("claude-haiku-5-5", input_tokens=100_000, output_tokens=10)),
    Rule("beyond them the whole call is five times; reads and writes count for the length", CLAUDE,
         "1 x 0.5 + 60000 x 0.05 + 40000 x 0.625 + 10 x 2.5", "0.028025500000",
         message("claude-haiku-5-5", **written(40_000, 0, input_tokens=1, cache_read_input_tokens=60_000,
                                               output_tokens=10))),
    Rule("long prompts of Sonnet 4.5", CLAUDE, "1 x 6 + 200000 x 0.6 + 10 x 22.5", "0.120231000000",
         message("claude-sonnet-4-5", input_tokens=1, cache_read_input_tokens=200_000, output_tokens=10)),
    Rule("long prompts of Sonnet 4", CLAUDE, "200001 x 6 + 10 x 22.5", "1.200231000000",
         message("claude-sonnet-4-20250514", input_tokens=200_001, output_tokens=10)),
    Rule("long prompts of Sonnet 4 in a batch", CLAUDE, "200001 x 3 + 10 x 11.25", "0.600115500000",
         results(message("claude-sonnet-4-20250514", input_tokens=200_001, output_tokens=10))),
    Rule("newer models have none", CLAUDE, "300000 x 4 + 10 x 20", "1.200200000000",
         message("claude-opus-5-5", input_tokens=300_000, output_tokens=10)),
    Rule("web searches each, fetches free", CLAUDE, "100 x 5 + 50 x 25 + 3 @ 0.01", "0.031750000000",
         message("claude-opus-4-5", input_tokens=100, output_tokens=50,
                 server_tool_use={"web_search_requests": 3, "web_fetch_requests": 2})),
    Rule("web searches are not cheaper in a batch, in the US or fast", CLAUDE,
         "100 x 2 + 50 x 10 * 1.1 + 1 @ 0.01", "0.010770000000",
         results(message("claude-opus-5-5", inference_geo="us", input_tokens=100, output_tokens=50,
                         server_tool_use={"web_search_requests": 1}))),
    Rule("a compaction is billed beside the answer", CLAUDE,
         "220 x 5 + 8 x 25 + 55196 x 5 + 125 x 25", "0.280405000000",
         message("claude-opus-4-6", input_tokens=220, output_tokens=8, iterations=[
             {"type": "compaction", "input_tokens": 55_196, "output_tokens": 125},
             {"type": "message", "input_tokens": 220, "output_tokens": 8}])),
    Rule("an advisor is billed as itself", CLAUDE, "100 x 2 + 50 x 10 + 1000 x 4 + 200 x 20", "0.008700000000",
         message("claude-sonnet-5-5", input_tokens=100, output_tokens=50, iterations=[
             {"type": "message", "input_tokens": 100, "output_tokens": 50},
             {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 1000, "output_tokens": 200}])),
    # Gemini
    Rule("cached tokens inside the prompt, thoughts beside the answer", GOOGLE,
         "600 x 0.3 + 400 x 0.03 + 100 x 2.5 + 50 x 2.5", "0.000567000000",
         gemini("gemini-2.5-flash", metadata(1000, 100, 50, 400))),
    Rule("what tools put into the prompt is input", GOOGLE, "1000 x 0.3 + 200 x 0.3 + 100 x 2.5", "0.000610000000",
         gemini("gemini-2.5-flash", metadata(1000, 100, toolUsePromptTokenCount=200, totalTokenCount=1300))),
    Rule("audio has a price of its own", GOOGLE, "500 x 0.3 + 1000 x 1 + 10 x 2.5", "0.001175000000",
         gemini("gemini-2.5-flash", metadata(1500, 10, promptTokensDetails=[
             {"modality": "TEXT", "tokenCount": 500}, AUDIO]))),
    Rule("so have images that are made", GOOGLE, "10 x 0.3 + 1290 x 30", "0.038703000000",
         gemini("gemini-2.5-flash-image", metadata(10, 1290, candidatesTokensDetails=[PICTURE]))),
    Rule("200,000 tokens are a short prompt", GOOGLE, "200000 x 1.25 + 10 x 10", "0.250100000000",
         gemini("gemini-2.5-pro", metadata(200_000, 10))),
    Rule("beyond them the whole call costs more, cached tokens counted", GOOGLE,
         "1 x 2.5 + 200000 x 0.25 + 10 x 15", "0.050152500000",
         gemini("gemini-2.5-pro", metadata(200_001, 10, cached=200_000))),
    Rule("also of Gemini 3", GOOGLE, "200001 x 4 + 10 x 18 + 5 x 18", "0.800274000000",
         gemini("gemini-3.1-pro-preview", metadata(200_001, 10, 5))),
    Rule("flex is half, cached tokens of 2.5 are not", GOOGLE, "600 x 0.15 + 400 x 0.03 + 100 x 1.25",
         "0.000227000000", gemini("gemini-2.5-flash", metadata(1000, 100, cached=400), "flex")),
    Rule("priority is 1.8 times", GOOGLE, "1000 x 0.54 + 100 x 4.5", "0.000990000000",
         gemini("gemini-2.5-flash", metadata(1000, 100), "priority")),
    Rule("priority that was downgraded is standard", GOOGLE, "1000 x 0.3 + 100 x 2.5", "0.000550000000",
         gemini("gemini-2.5-flash", metadata(1000, 100, serviceTier="priority"))),
    Rule("a batch is half, its results counted once", GOOGLE, "2000 x 0.15 + 200 x 1.25", "0.000550000000",
         job("gemini-2.5-flash", metadata(1000, 100), metadata(1000, 100))),
    Rule("long prompts in a batch count for each answer", GOOGLE, "300000 x 0.625 + 20 x 5", "0.187600000000",
         job("gemini-2.5-pro", metadata(150_000, 10), metadata(150_000, 10))),
    Rule("and a long one among short ones only for itself", GOOGLE,
         "300000 x 0.625 + 20 x 5 + 200001 x 1.25 + 10 x 7.5", "0.437676250000",
         job("gemini-2.5-pro", metadata(150_000, 10), metadata(200_001, 10), metadata(150_000, 10))),
    Rule("up to 2.5 a search is paid by the prompt", GOOGLE, "100 x 0.3 + 10 x 2.5 + 1 @ 0.035", "0.035055000000",
         gemini("gemini-2.5-flash", metadata(100, 10), webSearchQueries=["a", "b"])),
    Rule("from 3 by the query", GOOGLE, "100 x 0.5 + 10 x 3 + 2 @ 0.014", "0.028080000000",
         gemini("gemini-3-flash-preview", metadata(100, 10), webSearchQueries=["a", "b", "a", ""])),
    Rule("Maps up to 2.5", GOOGLE, "100 x 0.3 + 10 x 2.5 + 1 @ 0.025", "0.025055000000",
         gemini("gemini-2.5-flash", metadata(100, 10), groundingChunks=[{"maps": {"uri": "u"}}])),
    Rule("Maps from 3", GOOGLE, "100 x 0.5 + 10 x 3 + 1 @ 0.014", "0.014080000000",
         gemini("gemini-3-flash-preview", metadata(100, 10), groundingChunks=[{"maps": {"uri": "u"}}])),
    Rule("fees have no tier", GOOGLE, "100 x 0.9 + 10 x 5.4 + 1 @ 0.014", "0.014144000000",
         gemini("gemini-3-flash-preview", metadata(100, 10), "priority", webSearchQueries=["a"])),
    Rule("embeddings", GOOGLE, "1000 x 0.15", "0.000150000000",
         Call("gemini", "/v1beta/models/gemini-embedding-001:batchEmbedContents",
              {"embeddings": [], "usageMetadata": {"promptTokenCount": 1000}})),
    Rule("counting tokens is free", GOOGLE, "", "0.000000000000",
         Call("gemini", "/v1beta/models/gemini-2.5-flash:countTokens", {"totalTokens": 1000})),
    Rule("Imagen by the image", GOOGLE, "2 @ 0.04", "0.080000000000",
         Call("gemini", "/v1beta/models/imagen-4.0-generate-001:predict",
              {"predictions": [{"mimeType": "image/png"}, {"mimeType": "image/png"}, {"raiFilteredReason": "x"}]})),
    # Vertex AI
    Rule("the global endpoint sells at Gemini's prices", VERTEX, "600 x 0.3 + 400 x 0.03 + 100 x 2.5",
         "0.000442000000", on_vertex("gemini-2.5-flash", metadata(1000, 100, cached=400))),
    Rule("a regional one at 10 % more, for newer models", f"{VERTEX}; {LITELLM}", "1000 x 1.5 + 100 x 9 * 1.1",
         "0.002640000000", on_vertex("gemini-3.5-flash", metadata(1000, 100), "europe-west4")),
    Rule("a multi-region is regional", f"{VERTEX}; {LITELLM}", "1000 x 1.5 + 100 x 9 * 1.1 + 1 @ 0.014",
         "0.016640000000", on_vertex("gemini-3.5-flash", metadata(1000, 100), "eu", webSearchQueries=["a"])),
    Rule("older models cost the same everywhere", VERTEX, "1000 x 0.3 + 100 x 2.5", "0.000550000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100), "us-central1")),
    Rule("Gemini 2.0 Flash costs more than at the Gemini API", VERTEX, "1000 x 0.15 + 100 x 0.6", "0.000210000000",
         on_vertex("gemini-2.0-flash-001", metadata(1000, 100))),
    Rule("Claude at a regional endpoint, from 4.5", CLAUDE, "100 x 3 + 1000 x 0.3 + 50 x 15 * 1.1", "0.001485000000",
         claude_on_vertex("claude-sonnet-4-5@20250929", "us-east5", input_tokens=100, cache_read_input_tokens=1000,
                          output_tokens=50)),
    Rule("Claude at the global endpoint", CLAUDE, "100 x 3 + 50 x 15", "0.001050000000",
         claude_on_vertex("claude-sonnet-4-5@20250929", "global", input_tokens=100, output_tokens=50)),
    Rule("Claude before 4.5", CLAUDE, "100 x 3 + 50 x 15", "0.001050000000",
         claude_on_vertex("claude-sonnet-4@20250514", "us-east5", input_tokens=100, output_tokens=50)),
    Rule("Claude's web searches", CLAUDE, "100 x 4 + 50 x 20 * 1.1 + 1 @ 0.01", "0.011540000000",
         claude_on_vertex("claude-opus-5-5@default", "us-east5", input_tokens=100, output_tokens=50,
                          server_tool_use={"web_search_requests": 1})._replace()),
    Rule("provisioned throughput adds nothing", VERTEX, "1000 x 0 + 100 x 0", "0.000000000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType="PROVISIONED_THROUGHPUT"))),
    Rule("but grounding does", VERTEX, "1 @ 0.035", "0.035000000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType=2), webSearchQueries=["a"])),
    Rule("what spills over is on demand", VERTEX, "1000 x 0.3 + 100 x 2.5", "0.000550000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType="ON_DEMAND"))),
    Rule("priority by the traffic type", VERTEX, "1000 x 0.54 + 100 x 4.5", "0.000990000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType="ON_DEMAND_PRIORITY"))),
    Rule("flex by the traffic type, as a number", VERTEX, "1000 x 0.15 + 100 x 1.25", "0.000275000000",
         on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType=4))),
    Rule("text embeddings by the character", VERTEX, "133 x 0.025", "0.000003325000",
         vertex({"predictions": [{"embeddings": {"statistics": {"token_count": 22}}}],
                 "metadata": {"billableCharacterCount": 133}}, "publishers/google/models/text-embedding-005:predict")),
    Rule("Gemini embeddings by the token", VERTEX, "22 x 0.15", "0.000003300000",
         vertex({"predictions": [{"embeddings": {"statistics": {"token_count": 22}}}],
                 "metadata": {"billableCharacterCount": 133}},
                "publishers/google/models/gemini-embedding-001:predict")),
    Rule("what fills a cache is a prompt", CACHING, "43130 x 0.3", "0.012939000000",
         vertex({"model": "projects/p/locations/global/publishers/google/models/gemini-2.5-flash",
                 "usageMetadata": {"totalTokenCount": 43_130}}, "cachedContents")),
    Rule("partners' models", LITELLM, "1000 x 0.72 + 100 x 0.72", "0.000792000000",
         vertex({"model": "meta/llama-3.3-70b-instruct-maas", "choices": [], "usage": {
             "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}},
             "endpoints/openapi/chat/completions")),
)  # fmt: skip


def charged(call: Call) -> Charged:
    exchange = Exchange(call.provider, call.path, call.request, method=call.method, headers=call.headers)
    found = exchange.provider
    return charge(
        BOOK, found.prices_as, exchange.endpoint, exchange.intent.model or exchange.endpoint.model, call.when_us, 200,
        exchange.metered(call.answer), found.region(call.host),
    )  # fmt: skip


def worked_out(arithmetic: str) -> Decimal:
    """The vendor's sum in dollars. A factor at the end of the tokens' part holds for all of it."""
    tokens, fees, factor = Decimal(0), Decimal(0), Decimal(1)
    for term in filter(None, arithmetic.split(" + ")):
        body, star, times = term.partition(" * ")
        factor = Decimal(times) if star else factor
        count, sign, usd = body.split(" ")
        if sign == "@":
            fees += Decimal(count) * Decimal(usd)
        else:
            tokens += Decimal(count) * Decimal(usd) / 1_000_000
    return tokens * factor + fees


@pytest.mark.parametrize("rule", RULES, ids=[f"{rule.call.provider}: {rule.says}" for rule in RULES])
def test_a_rule_is_priced_as_its_vendor_says(rule: Rule) -> None:
    assert worked_out(rule.arithmetic) == Decimal(rule.dollars), "the table contradicts itself"
    found = charged(rule.call)
    assert found.cost is not None, found
    assert format_usd(found.cost) == rule.dollars
    assert found.cost_source in ("computed", "estimated")
    assert not {mark for mark in found.marks if mark.endswith("_assumed")}


def test_each_rule_names_its_source() -> None:
    assert len({(rule.call.provider, rule.says) for rule in RULES}) == len(RULES)
    assert all(rule.source for rule in RULES)


def test_provisioned_throughput_is_marked() -> None:
    found = charged(on_vertex("gemini-2.5-flash", metadata(10, 1, trafficType="PROVISIONED_THROUGHPUT")))
    assert (found.cost, found.marks, found.service_tier) == (0, ("provisioned",), "PROVISIONED_THROUGHPUT")


def test_a_way_of_serving_without_a_price_is_marked() -> None:
    found = charged(on_vertex("gemini-2.5-flash", metadata(1000, 100, trafficType="ON_DEMAND_OFFPEAK")))
    assert (format_usd(found.cost or 0), found.marks) == ("0.000550000000", ("tier_assumed",))


def test_an_unknown_fee_is_unpriced_and_no_zero() -> None:
    found = charged(gemini("gemini-2.5-flash-lite-preview-tts", metadata(10, 1), webSearchQueries=["a"]))
    assert (found.cost, found.cost_source) == (None, "unpriced")


def test_tier_prices_begin_on_their_day() -> None:
    early = batch("gpt-5", prompt(1000, 100))._replace(when_us=day_us("2026-09-01"))
    assert format_usd(charged(early).cost or 0) == "0.002250000000"
