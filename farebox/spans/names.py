"""Names of attributes, by what they mean: those of OpenTelemetry's GenAI conventions through their versions, and those
of OpenLLMetry (Traceloop) and OpenInference where these differ. What is read first stands first.

Sources: open-telemetry/semantic-conventions (gen_ai until v1.41) and semantic-conventions-genai (since), model/gen-ai;
traceloop/openllmetry, opentelemetry-semantic-conventions-ai; Arize-ai/openinference, spec/semantic_conventions.md.
"""

from typing import Final

from farebox.core.attribution import NAMES
from farebox.core.events import DIMENSIONS

Names = tuple[str, ...]

OPERATION: Final = "gen_ai.operation.name"
OPENINFERENCE_KIND: Final = "openinference.span.kind"
TRACELOOP_KIND: Final = "traceloop.span.kind"
TRACELOOP_REQUEST: Final = "llm.request.type"
PROVIDER: Final[Names] = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
MODEL_REQUESTED: Final[Names] = ("gen_ai.request.model", "llm.request.model", "llm.model_name", "embedding.model_name")
MODEL_BILLED: Final[Names] = ("gen_ai.response.model", "llm.response.model")
STREAMING: Final[Names] = ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming")
FIRST_CHUNK_S: Final = "gen_ai.response.time_to_first_chunk"
SERVICE_TIER: Final[Names] = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
ERROR: Final = "error.type"
EXCEPTION: Final = "exception.type"
"""Of a span event called `exception`, as OpenTelemetry's `record_exception` writes it."""
STATUS: Final[Names] = ("http.response.status_code", "http.status_code")
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
API_BASE: Final = "gen_ai.openai.api_base"
"""OpenLLMetry's, in place of an address and a port."""
PARAMETERS: Final = "llm.invocation_parameters"
"""OpenInference's: a call's parameters in JSON, without its messages. It names the model of a call that failed."""
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"

COUNTS: Final[dict[str, Names]] = {
    "input": (
        "gen_ai.usage.input_tokens",  # v1.27 on
        "gen_ai.usage.prompt_tokens",  # until v1.26
        "llm.usage.prompt_tokens",
        "llm.token_count.prompt",
    ),
    "output": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
        "llm.token_count.completion",
    ),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",  # v1.40 on
        "gen_ai.usage.cache_read_input_tokens",
        "llm.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens",  # semantic-conventions-genai, 2026
        "gen_ai.usage.cache_creation.input_tokens",  # v1.40 on
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
    "audio_input": ("gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"),
    "audio_output": ("gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"),
    "image_input": ("gen_ai.usage.image.input_tokens",),
    "image_output": ("gen_ai.usage.image.output_tokens",),
    "video_input": ("gen_ai.usage.video.input_tokens",),
    "audio_cache_read": ("gen_ai.usage.audio.cache_read.input_tokens",),
    "image_cache_read": ("gen_ai.usage.image.cache_read.input_tokens",),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
}
"""By what they count. `input`, `output` and `total` are sums over the others, as their conventions have it."""

OURS: Final = "farebox."
ASSOCIATION: Final = "traceloop.association.properties."
TAG: Final = "farebox.tag."
UNITS: Final = "farebox.units."
DIMENSION_NAMES: Final[dict[str, str]] = {name: NAMES.get(name, name) for name in (*DIMENSIONS, *NAMES)}
ATTRIBUTION: Final[dict[str, Names]] = {
    "tenant": ("tenant.id", "tenant_id", "customer.id", "customer_id"),
    "workspace": ("workspace.id", "workspace_id"),
    "user": ("user.id", "enduser.id", "llm.user"),
    "session": ("session.id", "gen_ai.conversation.id"),
}
"""What others call our dimensions, beside `farebox.NAME` and OpenLLMetry's association properties."""
TAGS: Final[dict[str, Names]] = {
    "service": ("service.name",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "agent": ("gen_ai.agent.name",),
}

_KEPT: Final = frozenset(
    {
        OPERATION, OPENINFERENCE_KIND, TRACELOOP_KIND, TRACELOOP_REQUEST, FIRST_CHUNK_S, ERROR, SERVER_ADDRESS,
        SERVER_PORT, API_BASE, PARAMETERS, RESPONSE_ID, FINISH_REASONS, *PROVIDER, *MODEL_REQUESTED, *MODEL_BILLED,
        *STREAMING,
        *SERVICE_TIER, *STATUS,
    }
).union(*COUNTS.values(), *ATTRIBUTION.values(), *TAGS.values())  # fmt: skip
_ASSOCIATED: Final = frozenset(ASSOCIATION + name for name in DIMENSION_NAMES)

PROVIDERS: Final[dict[str, str]] = {
    "gcp.gemini": "gemini", "gcp.gen_ai": "gemini", "google": "gemini", "google_genai": "gemini",
    "google.generative-ai": "gemini", "gcp.vertex_ai": "vertex", "vertex_ai": "vertex", "vertexai": "vertex",
    "google_vertexai": "vertex", "google.vertex": "vertex", "azure.ai.openai": "azure", "azure.ai.inference": "azure",
    "az.ai.openai": "azure", "az.ai.inference": "azure", "azure_openai": "azure", "azure-openai": "azure",
    "aws.bedrock": "bedrock", "aws_bedrock": "bedrock", "aws": "bedrock", "amazon_bedrock": "bedrock",
    "amazon-bedrock": "bedrock", "x_ai": "xai", "mistral_ai": "mistral", "mistralai": "mistral",
    "ibm.watsonx.ai": "watsonx", "moonshot_ai": "moonshotai", "together_ai": "together", "fireworks_ai": "fireworks",
    "voyageai": "voyage",
}  # fmt: skip
"""Our name for a provider, where a convention has another one."""
UNKNOWN_PROVIDER: Final = "unknown"


def is_kept(name: str) -> bool:
    """Whether a reader makes a value of this attribute. Prompts and answers have none of these names."""
    return name in _KEPT or name.startswith(OURS) or name in _ASSOCIATED


def provider_named(said: str) -> str:
    """Our name for the provider that a span names, such as 'gcp.gemini' or 'anthropic.messages'."""
    name = said.strip().lower()
    while name not in PROVIDERS and "." in name:
        name = name.rpartition(".")[0]
    return PROVIDERS.get(name, name) or UNKNOWN_PROVIDER
