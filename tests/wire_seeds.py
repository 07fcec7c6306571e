"""A valid answer in each format that a provider speaks, written by hand: what mutations begin from.

`tokens` is what the answer says was read and written, by its own totals; meters that are disjoint come to the same.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from event_stream import event
from websocket_frames import frame

Json = dict[str, Any]

CHAT_USAGE: Json = {
    "prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5, "audio_tokens": 10, "image_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 9, "audio_tokens": 4, "rejected_prediction_tokens": 2},
}  # fmt: skip
RESPONSE_USAGE: Json = {
    "input_tokens": 90, "output_tokens": 25, "total_tokens": 115,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 8,
                             "cache_write_tokens_details": {"ttl_30m_tokens": 6, "ttl_12h_tokens": 2}},
    "output_tokens_details": {"reasoning_tokens": 7},
}  # fmt: skip
CLAUDE_USAGE: Json = {
    "input_tokens": 20, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 9, "output_tokens": 33,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 4}, "service_tier": "standard",
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}, "speed": "standard", "inference_geo": "us",
    "output_tokens_details": {"thinking_tokens": 3},
}  # fmt: skip
GEMINI_USAGE: Json = {
    "promptTokenCount": 60, "cachedContentTokenCount": 20, "candidatesTokenCount": 11, "thoughtsTokenCount": 5,
    "toolUsePromptTokenCount": 4, "totalTokenCount": 80, "trafficType": "ON_DEMAND", "serviceTier": "standard",
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 50}, {"modality": "AUDIO", "tokenCount": 10}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 11}],
}  # fmt: skip
COHERE_USAGE: Json = {
    "billed_units": {"input_tokens": 12.0, "output_tokens": 6.0, "search_units": 1.0, "images": 1},
    "tokens": {"input_tokens": 80.0, "output_tokens": 6.0, "image_tokens": 3},
}
CONVERSE_USAGE: Json = {
    "inputTokens": 14, "outputTokens": 6, "totalTokens": 29, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 4,
    "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 1}],
}  # fmt: skip
UNITS: Json = {"topicPolicyUnits": 1, "contentPolicyUnits": 2, "contextualGroundingPolicyUnits": 0}
GUARDED: Json = {"guardrail": {"inputAssessment": {"g": {"invocationMetrics": {"usage": UNITS}}},
                               "outputAssessments": {"g": [{"invocationMetrics": {"usage": UNITS}}]}}}  # fmt: skip
COSTS: Json = {
    "cost": 0.00012, "is_byok": False, "cost_in_usd_ticks": 1200000, "num_sources_used": 2,
    "cost_details": {"upstream_inference_cost": 0.0001}, "citation_tokens": 3, "num_search_queries": 1,
    "server_side_tool_usage_details": {"web_search_calls": 1, "code_interpreter_calls": 1},
    "server_tool_use_details": {"web_search_requests": 1}, "search_context_size": "low",
}  # fmt: skip
CHAT: Json = {
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5", "service_tier": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi \u00e9\U0001f600", "annotations": []},
                 "finish_reason": "stop"}],
    "usage": CHAT_USAGE, "error": None,
}  # fmt: skip
RESPONSE: Json = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5", "service_tier": "default",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
               {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
               {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c1"},
               {"type": "file_search_call", "id": "fs_1"}, {"type": "image_generation_call", "id": "ig_1"}],
    "tool_usage": {"web_search": {"num_requests": 1},
                   "image_gen": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}},
    "usage": RESPONSE_USAGE, "error": None, "incomplete_details": None,
}  # fmt: skip
MESSAGE: Json = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "stop_reason": "end_turn",
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, {"b": None}]}}],
    "usage": CLAUDE_USAGE,
}  # fmt: skip
PASSES: Json = {
    **MESSAGE,
    "usage": {
        **CLAUDE_USAGE,
        "iterations": [
            {"type": "compaction", "input_tokens": 900, "output_tokens": 12},
            {"type": "message", **CLAUDE_USAGE},
            {"type": "advisor_message", "model": "claude-opus-5-5", "input_tokens": 70, "output_tokens": 8},
            {"type": "fallback_message", "model": "claude-sonnet-5-5", "input_tokens": 20, "output_tokens": 4},
        ],
        "fallback_credit": {"status": {"type": "redeemed"}},
    },
}
GENERATED: Json = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}, {"functionCall": {"name": "f", "args": {}}}]},
                    "finishReason": "STOP",
                    "groundingMetadata": {"webSearchQueries": ["a", "b"], "imageSearchQueries": ["c"],
                                          "retrievalQueries": ["d"],
                                          "groundingChunks": [{"maps": {"uri": "u"}}, {"web": {"uri": "v"}}]}}],
    "usageMetadata": GEMINI_USAGE, "modelVersion": "gemini-2.5-flash", "responseId": "r",
    "promptFeedback": {"safetyRatings": []},
}  # fmt: skip
INTERACTION: Json = {
    "id": "int_1", "object": "interaction", "status": "completed", "model": "gemini-2.5-flash",
    "steps": [{"type": "google_search_call", "arguments": {"queries": ["a", "b"]}}, {"type": "model_output"}],
    "usage": {"total_input_tokens": 22, "total_cached_tokens": 4, "total_output_tokens": 10, "total_thought_tokens": 3,
              "total_tool_use_tokens": 5, "total_tokens": 40,
              "input_tokens_by_modality": [{"modality": "text", "tokens": 22}],
              "grounding_tool_count": [{"type": "google_search", "count": 2}]},
}  # fmt: skip
BATCH_LINE: Json = {"custom_id": "a", "response": {"status_code": 200, "request_id": "q", "body": CHAT}}
BATCHED: Json = {"response": GENERATED, "key": "k"}


def chat_chunk(**fields: Any) -> Json:
    return {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [], "usage": None, **fields}


def chunk(content: Any) -> Json:
    """The vendor's event as an invoke stream has it."""
    return {"bytes": base64.b64encode(json.dumps(content).encode()).decode(), "p": "abcd"}


@dataclass(frozen=True)
class Seed:
    """A valid answer: its documents, in one framing, for the families of routes that it is an answer of."""

    name: str
    families: str
    """A regular expression over 'provider family'."""
    framing: str
    """json | sse | lines | array | events | frames."""
    documents: list[Any]
    """Objects; of `events`, pairs of a kind and an object."""
    tokens: tuple[int, int] | None = None


CLAUDE_EVENTS: list[Json] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {**CLAUDE_USAGE, "output_tokens": 1}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 33}},
    {"type": "message_stop"},
]
CHAT_EVENTS: list[Json] = [
    chat_chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]),
    chat_chunk(choices=[{"index": 0, "delta": {"content": "lo", "reasoning_content": "hm"}}]),
    chat_chunk(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}]),
    chat_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    chat_chunk(usage=CHAT_USAGE),
]
RESPONSE_EVENTS: list[Json] = [
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "usage": None}},
    {"type": "response.output_item.added", "item": {"type": "web_search_call", "id": "ws_1"}},
    {"type": "response.output_text.delta", "delta": "Hi"},
    {"type": "response.output_item.done", "item": {"type": "message", "content": []}},
    {"type": "response.completed", "response": RESPONSE},
]
CONVERSE_EVENTS: list[tuple[str, Json]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": CONVERSE_USAGE, "metrics": {"latencyMs": 5}, "trace": GUARDED}),
]
METRICS: Json = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 3,
                                                      "cacheReadInputTokenCount": 2}}  # fmt: skip
AGENT_EVENTS: list[tuple[str, Json]] = [
    ("chunk", {"bytes": "SGk="}),
    ("trace", {"trace": {"orchestrationTrace": {"modelInvocationInput": {"foundationModel": "m", "traceId": "t"}}}}),
    ("trace", {"trace": {"orchestrationTrace": {"modelInvocationOutput": {
        "traceId": "t", "metadata": {"usage": {"inputTokens": 5, "outputTokens": 2}}}}}}),
]  # fmt: skip
COHERE_EVENTS: list[Json] = [
    {"type": "message-start", "id": "m"},
    {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
]
MISTRAL_USAGE: Json = {**CHAT_USAGE, "num_cached_tokens": 4, "prompt_audio_seconds": 3, "connector_tokens": 5,
                       "connectors": {"web_search": 1}}  # fmt: skip
SESSION: list[Json] = [
    {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime",
                                            "audio": {"input": {"transcription": {"model": "whisper-1"}}}}},
    {"type": "response.created", "response": {"id": "r", "status": "in_progress", "usage": None}},
    {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": {
        "total_tokens": 150, "input_tokens": 100, "output_tokens": 50,
        "input_token_details": {"text_tokens": 60, "audio_tokens": 40, "cached_tokens": 20,
                                "cached_tokens_details": {"text_tokens": 15, "audio_tokens": 5}},
        "output_token_details": {"text_tokens": 20, "audio_tokens": 30}}}},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i",
     "usage": {"type": "duration", "seconds": 3}},
    {"type": "session.usage.updated", "usage": {"seconds": 12.5}, "billable_audio_seconds": 3},
]  # fmt: skip
LIVE: list[Json] = [
    {"setupComplete": {}},
    {"serverContent": {"modelTurn": {"parts": [{"text": "Hi"}]}}},
    {"serverContent": {"turnComplete": True}, "usageMetadata": {
        "promptTokenCount": 30, "responseTokenCount": 12, "thoughtsTokenCount": 4, "totalTokenCount": 42,
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 12}]}},
]  # fmt: skip
IMAGES: Json = {
    "created": 1, "data": [{"b64_json": "aGk="}, {"url": "u"}],
    "usage": {"input_tokens": 40, "output_tokens": 90, "total_tokens": 130,
              "input_tokens_details": {"text_tokens": 10, "image_tokens": 30}},
    "svg_usage": {"model": "gpt-5", "input_tokens": 3, "output_tokens": 8, "reasoning_tokens": 2, "total_tokens": 11},
}  # fmt: skip
LINKS: Json = {"id": "batch_1", "name": "batches/b", "input_file_id": "f1", "output_file_id": "f2",
               "file": {"name": "files/f"}, "data": [{"id": "batch_2", "input_file_id": "f3"}]}  # fmt: skip

SEEDS: tuple[Seed, ...] = (
    Seed("chat", r"chat|completions|sonar|unknown", "json", [CHAT], (100, 30)),
    Seed("chat stream", r"chat|completions|sonar|unknown", "sse", CHAT_EVENTS, (100, 30)),
    Seed("stated costs", r"(xai|openrouter|perplexity) .*(chat|completions)", "json",
         [{**CHAT, "usage": {**CHAT_USAGE, **COSTS}, "citations": ["u"], "search_results": [{"url": "u"}]}]),
    Seed("stated costs, streamed", r"(xai|openrouter|perplexity) .*(chat|completions)", "sse",
         [*CHAT_EVENTS[:-1], chat_chunk(usage={**CHAT_USAGE, **COSTS})]),
    Seed("compound", r"groq chat", "sse", [*CHAT_EVENTS[:-2], chat_chunk(
        choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}],
        x_groq={"id": "q", "usage": CHAT_USAGE,
                "usage_breakdown": {"models": [{"model": "m", "usage": CHAT_USAGE}]}})]),
    Seed("response", r"responses", "json", [RESPONSE], (90, 25)),
    Seed("response stream", r"responses", "sse", RESPONSE_EVENTS, (90, 25)),
    Seed("run", r"threads", "json", [{"id": "run_1", "status": "completed", "usage": CHAT_USAGE, "model": "gpt-4o"}]),
    Seed("embeddings", r"embed", "json", [{"model": "e", "data": [{"embedding": [0.1, -2e-9]}],
                                            "usage": {"prompt_tokens": 8, "total_tokens": 8}}]),
    Seed("images", r"image", "json", [IMAGES]),
    Seed("image stream", r"image", "sse", [{"type": "image_generation.partial_image"},
                                           {"type": "image_generation.completed", "usage": IMAGES["usage"]}]),
    Seed("transcript", r"audio|stt", "json", [{"text": "Hi", "duration": 3.2, "usage": {
        "type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19,
        "input_token_details": {"audio_tokens": 10, "text_tokens": 4}}}]),
    Seed("transcript stream", r"audio|stt", "sse", [{"type": "transcript.text.delta", "delta": "Hi"}, {
        "type": "transcript.text.done", "text": "Hi", "usage": {"type": "duration", "seconds": 3}}]),
    Seed("results", r"files.content|download|results|batches", "lines", [BATCH_LINE, {**BATCH_LINE, "custom_id": "b"}]),
    Seed("claude", r"messages|rawPredict|complete", "json", [MESSAGE], (79, 33)),
    Seed("claude in passes", r"messages|rawPredict", "json", [PASSES]),
    Seed("claude stream", r"messages|rawPredict|complete", "sse", CLAUDE_EVENTS, (79, 33)),
    Seed("claude results", r"messages.batches|files.content|results", "lines",
         [{"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}] * 2),
    Seed("gemini", r"gemini\.(generate|stream|batch|interactions)", "json", [GENERATED], (64, 16)),
    Seed("gemini array", r"gemini\.stream", "array", [GENERATED, GENERATED], (64, 16)),
    Seed("gemini stream", r"gemini\.stream", "sse", [GENERATED, GENERATED], (64, 16)),
    Seed("predictions", r"predict", "json", [{"predictions": [{"mimeType": "image/png"}, {"embeddings": {
        "statistics": {"token_count": 4.0}}}], "metadata": {"billableCharacterCount": 12}}]),
    Seed("interaction", r"interactions", "json", [INTERACTION], (27, 13)),
    Seed("interaction stream", r"interactions", "sse", [
        {"event_type": "step.delta", "delta": {"type": "text", "text": "Hi"}},
        {"event_type": "interaction.completed", "interaction": INTERACTION}], (27, 13)),
    Seed("gemini job", r"gemini.batches", "json", [{"name": "batches/b", "metadata": {
        "model": "models/gemini-2.5-flash", "output": {"inlinedResponses": {"inlinedResponses": [BATCHED]}}},
        "response": {"inlinedResponses": {"inlinedResponses": [BATCHED, BATCHED]}, "responsesFile": "files/f"}}]),
    Seed("gemini results", r"gemini.download", "lines", [BATCHED, BATCHED]),
    Seed("cache", r"cachedContents", "json", [{"name": "c", "model": "m", "usageMetadata": {"totalTokenCount": 9}}]),
    Seed("converse", r"converse", "json", [{"output": {"message": {"content": [{"text": "Hi"}]}}, "trace": GUARDED,
                                            "stopReason": "end_turn", "usage": CONVERSE_USAGE,
                                            "serviceTier": {"type": "flex"}}], (23, 6)),
    Seed("converse stream", r"converse", "events", CONVERSE_EVENTS, (23, 6)),
    Seed("invoke", r"invoke", "json", [{**MESSAGE, "usage": {**CLAUDE_USAGE, "inputTokens": 4, "outputTokens": 2},
                                        "inputTextTokenCount": 3, "results": [{"tokenCount": 5, "outputText": "Hi"}],
                                        "prompt_token_count": 4, "generation_token_count": 3, "generation": "Hi",
                                        "amazon-bedrock-trace": GUARDED}]),
    Seed("invoke stream", r"invoke", "events",
         [("chunk", chunk(e)) for e in [*CLAUDE_EVENTS[:-1], {**CLAUDE_EVENTS[-1], **METRICS}]]),
    Seed("titan stream", r"invoke", "events", [("chunk", chunk({"outputText": "Hi", "index": 0, **METRICS}))]),
    Seed("agent", r"agent", "events", AGENT_EVENTS, (5, 2)),
    Seed("guardrail", r"guardrail", "json", [{"usage": UNITS, "assessments": [], "action": "NONE"}]),
    Seed("cohere", r"cohere", "json", [{"id": "c", "message": {"content": [{"text": "Hi"}]}, "usage": COHERE_USAGE,
                                        "meta": {"billed_units": COHERE_USAGE["billed_units"]}, "finish_reason": "x",
                                        "classifications": [{"id": "k"}], "pages": [{}]}]),
    Seed("cohere stream", r"cohere", "sse", COHERE_EVENTS),
    Seed("cohere lines", r"cohere", "lines", [
        {"event_type": "text-generation", "text": "Hi"},
        {"event_type": "stream-end", "finish_reason": "x", "response": {"meta": COHERE_USAGE}}]),
    Seed("mistral", r"mistral", "json", [{**CHAT, "usage": MISTRAL_USAGE, "outputs": [{"type": "tool.execution"}],
                                          "usage_info": {"pages_processed": 2}}]),
    Seed("mistral stream", r"mistral", "sse", [*CHAT_EVENTS[:-1], chat_chunk(usage=MISTRAL_USAGE),
                                               {"type": "conversation.response.done", "usage": MISTRAL_USAGE}]),
    Seed("mistral job", r"batch.job", "json", [{"id": "j", "model": "m", "outputs": [BATCH_LINE, BATCH_LINE],
                                                "total_requests": 2, "succeeded_requests": 2}]),
    Seed("pages of results", r"xai .*results", "json", [{"pagination_token": "p", "results": [
        {"batch_request_id": "r", "batch_result": {"response": {"chat_get_completion": {
            **CHAT, "usage": {**CHAT_USAGE, **COSTS}}}}}] * 2}]),
    Seed("videos and jobs", r"videos|async|deferred", "json", [
        {"status": "COMPLETED", "id": "j", "request_id": "r", "video": {"url": "u", "duration": 4}, "response": CHAT,
         "usage": {**CHAT_USAGE, **COSTS}, "choices": CHAT["choices"]}]),
    Seed("ranks", r"rerank|search", "json", [{"results": [{"index": 0, "relevance_score": 0.5}], "model": "r",
                                              "meta": {"billed_units": {"search_units": 1}}, "usage": {
                                                  "total_tokens": 9, "search_units": 1, **COSTS}}]),
    Seed("voyage", r"voyage", "json", [{"data": [], "model": "v", "usage": {
        "total_tokens": 9, "text_tokens": 5, "image_pixels": 1000, "video_pixels": 10}}]),
    Seed("objects", r"stored|files|batches|models", "json", [LINKS]),
    Seed("refusal", r".", "json", [{"error": {"type": "overloaded_error", "code": 529, "message": "m", "details": []},
                                    "type": "error", "message": "m", "detail": [{"msg": "m"}]}]),
    Seed("refusal in a stream", r".", "sse", [{"error": {"type": "x", "code": None}}, {"type": "error", "error": "x"}]),
    Seed("realtime", r"realtime|live|ws", "frames", SESSION),
    Seed("realtime, usage beside", r"realtime|live|ws", "frames", [
        SESSION[0], {"type": "response.done", "response": {"usage": {}}, "usage": RESPONSE_USAGE}]),
    Seed("live", r"gemini.live|vertex|ws", "frames", LIVE),
    Seed("transcription session", r"mistral", "frames", [
        {"type": "transcription.text.delta", "text": "Hi"}, {"type": "transcription.done", "usage": MISTRAL_USAGE}]),
)  # fmt: skip


def framed(framing: str, documents: list[Any], newline: str = "\n", mask: bytes = b"") -> bytes:
    """The bytes of these documents; a document that is bytes stands as it is."""
    if framing == "events":
        return b"".join(event(*_pair(document)) for document in documents)
    texts = [text(document) for document in documents]
    if framing == "sse":
        return b"".join(b"data: %b%b" % (each, newline.encode() * 2) for each in texts)
    if framing == "lines":
        return b"".join(each + newline.encode() for each in texts)
    if framing == "array":
        return b"[" + b",\r\n".join(texts) + b"]"
    if framing == "frames":
        return b"".join(frame(each, mask=mask) for each in texts)
    return b"".join(texts)


def _pair(document: Any) -> tuple[str, bytes]:
    if isinstance(document, (tuple, list)) and len(document) == 2 and isinstance(document[0], str):
        return document[0][:200], text(document[1])
    return "chunk", text(document)


def text(document: Any) -> bytes:
    """A document as JSON, also one that JSON has no word for: NaN, half a surrogate pair, numbers without end."""
    if isinstance(document, bytes):
        return document
    found = json.dumps(document, default=lambda raw: raw.decode("latin-1"))
    return _DEEP.sub(_nest, found).encode()


def deep(levels: int, is_object: bool) -> str:
    """A value that `text` writes as brackets within brackets, deeper than Python itself could hold."""
    return f"<{'object' if is_object else 'array'} of {levels} levels>"


_DEEP = re.compile(r'"<(object|array) of (\d+) levels>"')


def _nest(found: re.Match[str]) -> str:
    opening, closing = ('{"a":', "}") if found[1] == "object" else ("[", "]")
    return opening * int(found[2]) + "1" + closing * int(found[2])
