"""What a request to Bedrock asks for: in Converse's one shape, or in a vendor's own."""

from typing import Final

import msgspec

from farebox.providers.bedrock_invoke import RerankIntent
from farebox.providers.bedrock_models import model_name
from farebox.providers.documents import read
from farebox.providers.json_asked import in_chat, in_converse, in_messages
from farebox.providers.openai_documents import NULL
from farebox.providers.openai_requests import text_bytes
from farebox.providers.protocol import Endpoint, Intent, JsonIn

CHUNKS_PER_UNIT: Final = 100
BYTES_PER_CHUNK: Final = 2048
"""A rerank's search unit is a query with up to 100 chunks of 512 tokens, longer documents count as several
(AWS' pricing page on Rerank). Four bytes a token are assumed."""


class _Inference(msgspec.Struct, frozen=True, gc=False):
    maxTokens: int | None = None
    max_new_tokens: int | None = None


class _Titan(msgspec.Struct, frozen=True, gc=False):
    maxTokenCount: int | None = None


class _Drawing(msgspec.Struct, frozen=True, gc=False):
    numberOfImages: int | None = None
    width: int | None = None
    height: int | None = None
    quality: str | None = None


class _Tier(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


class _Reference(msgspec.Struct, frozen=True, gc=False):
    modelArn: str | None = None


class _Ranking(msgspec.Struct, frozen=True):
    modelConfiguration: _Reference | None = None


class _RankingChoice(msgspec.Struct, frozen=True):
    bedrockRerankingConfiguration: _Ranking | None = None


class _Tools(msgspec.Struct, frozen=True):
    toolChoice: msgspec.Raw = NULL


class _Output(msgspec.Struct, frozen=True):
    textFormat: msgspec.Raw = NULL


class _Request(msgspec.Struct, frozen=True):
    """The members of any body that tell what it may cost."""

    inferenceConfig: _Inference | None = None
    serviceTier: _Tier | None = None
    max_tokens: int | None = None
    max_tokens_to_sample: int | None = None
    max_gen_len: int | None = None
    maxTokens: int | None = None
    textGenerationConfig: _Titan | None = None
    imageGenerationConfig: _Drawing | None = None
    documents: list[msgspec.Raw] | None = None
    sources: list[msgspec.Raw] | None = None
    rerankingConfiguration: _RankingChoice | None = None
    foundationModel: str | None = None
    num_results: int | None = None
    toolConfig: _Tools | None = None
    outputConfig: _Output | None = None
    response_format: msgspec.Raw = NULL
    output_format: msgspec.Raw = NULL
    output_config: msgspec.Raw = NULL
    tool_choice: msgspec.Raw = NULL

    @property
    def output_max(self) -> int | None:
        nested = self.inferenceConfig or _Inference()
        titan = self.textGenerationConfig.maxTokenCount if self.textGenerationConfig else None
        given = (nested.maxTokens, nested.max_new_tokens, titan, self.max_tokens, self.max_tokens_to_sample)
        return next((count for count in (*given, self.max_gen_len, self.maxTokens) if count), None)


def read_intent(endpoint: Endpoint, body: bytes) -> Intent:
    """The intent of a body. The model stands in the path; an empty intent where the body cannot be read."""
    try:
        asked = read(body, _Request)
    except ValueError:
        return Intent(model=endpoint.model, streaming=endpoint.streaming is True, input_bytes=text_bytes(body))
    model = endpoint.model
    if endpoint.family == "rerank":
        choice = asked.rerankingConfiguration.bedrockRerankingConfiguration if asked.rerankingConfiguration else None
        named = choice.modelConfiguration.modelArn if choice and choice.modelConfiguration else None
        return _rerank(model_name(named) if named else None, asked.sources or [], len(body))
    if endpoint.family == "invoke" and asked.documents is not None and "rerank" in (model or ""):
        return _rerank(model, asked.documents, len(body))
    drawing = asked.imageGenerationConfig
    return Intent(
        model=model or asked.foundationModel,
        streaming=endpoint.streaming is True,
        output_max=asked.output_max,
        service_tier=asked.serviceTier.type if asked.serviceTier else None,
        json_in=_json_in(asked),
        variant=_variant(drawing) if drawing else None,
        input_bytes=text_bytes(body),
        pieces=max((drawing.numberOfImages if drawing else None) or 1, 1),
    )


def _json_in(asked: _Request) -> JsonIn:
    """In Converse's own words, or in those of Anthropic's or OpenAI's bodies."""
    choice = asked.toolConfig.toolChoice if asked.toolConfig is not None else NULL
    written = asked.outputConfig.textFormat if asked.outputConfig is not None else NULL
    return (
        in_converse(written, choice)
        or in_messages(asked.output_format, asked.output_config, asked.tool_choice)
        or in_chat(asked.response_format, NULL)
    )


def _variant(drawing: _Drawing) -> str:
    return f"{drawing.width or 1024}x{drawing.height or 1024}/{drawing.quality or 'standard'}"


def _rerank(model: str | None, documents: list[msgspec.Raw], size: int) -> Intent:
    chunks = [max(1, -(-len(document) // BYTES_PER_CHUNK)) for document in documents]
    units = max(1, -(-sum(chunks) // CHUNKS_PER_UNIT))
    return RerankIntent(model=model, pieces=units, input_bytes=size, guessed=sum(chunks) > len(documents))
