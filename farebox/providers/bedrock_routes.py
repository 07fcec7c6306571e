"""The routes of bedrock-runtime, bedrock-agent-runtime and bedrock-mantle, as far as they differ for metering and for
who may call them. Bodies are JSON throughout and are read whole: a signature needs their hash."""

from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from farebox.providers.anthropic import ANTHROPIC
from farebox.providers.openai_routes import classify as classify_openai
from farebox.providers.protocol import Endpoint
from farebox.providers.routing import ADMIN, ESCAPED, segments

OPENAI_PREFIXES: Final = ("/openai/v1", "/v1")
MESSAGES_PREFIXES: Final = ("/anthropic/v1/", "/v1/messages", "/v1/complete")

_ACTIONS: Final = {
    "converse": Endpoint("chat", "converse", streaming=False),
    "converse-stream": Endpoint("chat", "converse", streaming=True),
    "invoke": Endpoint("generate", "invoke", streaming=False),
    "invoke-with-response-stream": Endpoint("generate", "invoke", streaming=True),
    "count-tokens": Endpoint("other", "count-tokens", billed=False),
}
"""What POST to /model/{id}/{action} means."""

_STORED: Final = Endpoint("other", "stored", billed=False, stored=True)
_MODELS: Final = Endpoint("other", "models", body="none", billed=False)
_UNKNOWN: Final = Endpoint("other", "untold", stored=True)
_GUARDRAIL: Final = Endpoint("moderation", "guardrail")
_AGENT: Final = Endpoint("chat", "agent", streaming=True)
_RERANK: Final = Endpoint("rerank", "rerank", streaming=False)
_UNTOLD: Final = Endpoint("generate", "untold")
"""Billed by what it makes models do, and nothing of it stands in the answer."""

_HEADS: Final = {
    ("rerank",): _RERANK,
    ("retrieveAndGenerate",): _UNTOLD,
    ("retrieveAndGenerateStream",): _UNTOLD,
    ("agenticRetrieveStream",): _UNTOLD,
    ("generateQuery",): _UNTOLD,
    ("optimize-prompt",): _UNTOLD,
    ("async-invoke",): _UNTOLD,
    ("guardrail-checks", "invoke"): _GUARDRAIL,
}
_CONTROL: Final = frozenset(
    {"guardrails", "inference-profiles", "model-invocation-job", "model-invocation-jobs", "custom-models", "logging",
     "provisioned-model-throughput", "provisioned-model-throughputs", "model-customization-jobs", "imported-models",
     "model-import-jobs", "model-copy-jobs", "evaluation-jobs", "prompt-routers", "marketplace-model", "tags",
     "foundation-model-agreement", "create-foundation-model-agreement", "delete-foundation-model-agreement",
     "use-case-for-model-access", "enforcedguardrailsconfiguration", "automated-reasoning-policies"}
)  # fmt: skip
"""What belongs to the account, at Bedrock's control plane."""


@lru_cache(maxsize=4096)
def classify(method: str, path: str) -> Endpoint:
    """The endpoint of a path. The model is as the path names it, decoded."""
    found = segments(path)
    if found is None:
        return ESCAPED
    head = found[0].lower() if found else ""
    if head in _CONTROL:
        return ADMIN
    if path.startswith(MESSAGES_PREFIXES):
        return ANTHROPIC.endpoint(method, "/v1/" + path.removeprefix("/anthropic").removeprefix("/v1/"))
    for prefix in OPENAI_PREFIXES:
        if path.startswith(prefix + "/"):
            return classify_openai(prefix, method, path)
    if head == "model":
        return _model(method, found)
    if method == "POST":
        return _posted(found)
    if head == "async-invoke" and method == "GET":
        # An invocation's name is an ARN, which has slashes.
        below = "/".join(found[1:])
        return replace(_STORED, root=below or None, action="read" if below else "list")
    if head == "foundation-models":
        return _MODELS
    return _STORED


def _model(method: str, found: tuple[str, ...]) -> Endpoint:
    """A model's ARN may have slashes, escaped or not."""
    known = _ACTIONS.get(found[-1]) if method == "POST" and len(found) > 2 else None
    return replace(known, model="/".join(found[1:-1])) if known is not None else _UNKNOWN


def _posted(found: tuple[str, ...]) -> Endpoint:
    if found in _HEADS:
        return _HEADS[found]
    if found[:1] == ("guardrail",) and found[-1] == "apply":
        return _GUARDRAIL
    if found[:1] == ("agents",) and (len(found) == 2 or found[-1] == "text"):
        return _AGENT
    if found[:1] == ("flows",) and "executions" not in found:
        return _UNTOLD
    if found[:1] == ("knowledgebases",) and found[-1] == "retrieve":
        return _UNTOLD
    return _STORED if found[:1] in (("sessions",), ("knowledgebases",)) else _UNKNOWN
