import pytest
from answers import provider

from farebox.providers import PROVIDERS, by_name, compatible
from farebox.providers.protocol import Endpoint
from farebox.providers.routing import joined, segments, with_prefix


def route(name: str, method: str, path: str) -> Endpoint:
    found = provider(name)
    return found.endpoint(method, found.upstream_path(path))


@pytest.mark.parametrize(
    ("name", "path", "upstream"),
    [
        ("openai", "/chat/completions", "/v1/chat/completions"),
        ("openai", "/v1/chat/completions", "/v1/chat/completions"),
        ("openai", "v1/models", "/v1/models"),
        ("openai", "/v1beta/x", "/v1/v1beta/x"),
        ("groq", "/openai/v1/chat/completions", "/openai/v1/chat/completions"),
        ("groq", "/v1/chat/completions", "/openai/v1/chat/completions"),
        ("groq", "/chat/completions", "/openai/v1/chat/completions"),
        ("anthropic", "/v1/messages", "/v1/messages"),
        ("anthropic", "/messages", "/v1/messages"),
        ("gemini", "/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/v1/models/m:generateContent", "/v1/models/m:generateContent"),
        ("gemini", "/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("gemini", "/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("gemini", "/upload/v1beta/files", "/upload/v1beta/files"),
    ],
)
def test_a_version_prefix_may_be_left_out_and_is_never_doubled(name: str, path: str, upstream: str) -> None:
    found = provider(name)
    assert found.upstream_path(path) == upstream
    assert found.upstream_path(upstream) == upstream


def test_a_base_url_may_bring_the_prefix_itself() -> None:
    assert joined("/v1", "/v1", "/v1/models") == "/v1/models"
    assert joined("/relay", "/v1", "/v1/models") == "/relay/v1/models"
    assert joined("", "", "/v1beta/models") == "/v1beta/models"
    assert joined("/relay/v1beta", "", "/v1beta/models") == "/relay/v1beta/models"
    assert joined("/relayv1beta", "", "/v1beta/models") == "/relayv1beta/v1beta/models"
    assert joined("/openai/v1/", "/openai/v1", with_prefix("/openai/v1", "/models")) == "/openai/v1/models"


@pytest.mark.parametrize(
    ("name", "method", "path", "operation", "family"),
    [
        ("openai", "POST", "/v1/chat/completions", "chat", "chat.completions"),
        ("openai", "POST", "/v1/chat/completions/", "chat", "chat.completions"),
        ("openai", "POST", "/v1//chat%2Fcompletions", "chat", "chat.completions"),
        ("openai", "POST", "/v1/responses", "responses", "responses"),
        ("openai", "POST", "/v1/responses/compact", "responses", "responses.compact"),
        ("openai", "POST", "/v1/completions", "completions", "completions"),
        ("openai", "POST", "/v1/embeddings", "embeddings", "embeddings"),
        ("openai", "POST", "/v1/images/edits", "image", "images.edits"),
        ("openai", "POST", "/v1/audio/transcriptions", "audio", "audio.transcriptions"),
        ("groq", "POST", "/openai/v1/chat/completions", "chat", "chat.completions"),
        ("groq", "POST", "/audio/speech", "audio", "audio.speech"),
        ("anthropic", "POST", "/v1/messages", "messages", "messages"),
        ("anthropic", "POST", "/v1/chat/completions", "chat", "chat.completions"),
        ("anthropic", "POST", "/v1/complete", "completions", "legacy.complete"),
        ("gemini", "POST", "/v1beta/models/g:generateContent", "generate", "gemini.generateContent"),
        ("gemini", "POST", "/v1beta/models/g%3AstreamGenerateContent", "generate", "gemini.streamGenerateContent"),
        ("gemini", "POST", "/v1beta/models/g:batchEmbedContents", "embeddings", "gemini.batchEmbedContents"),
        ("gemini", "POST", "/v1beta/interactions", "generate", "gemini.interactions"),
        ("gemini", "POST", "/v1beta/openai/chat/completions", "chat", "chat.completions"),
    ],
)
def test_inference_routes_are_billed_and_open(name: str, method: str, path: str, operation: str, family: str) -> None:
    found = route(name, method, path)
    assert (found.operation, found.family) == (operation, family)
    assert found.billed
    assert not found.stored
    assert not found.admin


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai", "/v1/moderations"),
        ("openai", "/v1/responses/input_tokens"),
        ("openai", "/v1/realtime/client_secrets"),
        ("anthropic", "/v1/messages/count_tokens"),
        ("gemini", "/v1beta/models/g:countTokens"),
    ],
)
def test_free_routes_are_open_and_unbilled(name: str, path: str) -> None:
    found = route(name, "POST", path)
    assert (found.billed, found.stored, found.admin) == (False, False, False)


@pytest.mark.parametrize("name", ["openai", "groq", "anthropic", "gemini"])
def test_listing_models_is_open_and_deleting_one_is_not(name: str) -> None:
    assert not route(name, "GET", "/v1/models").stored
    assert not route(name, "GET", "/v1/models").billed
    assert route(name, "DELETE", "/v1/models/ft:x").stored


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [
        ("openai", "POST", "/v1/files"),
        ("openai", "GET", "/v1/files/file-1/content"),
        ("openai", "POST", "/v1/batches"),
        ("openai", "GET", "/v1/responses/resp_1"),
        ("openai", "DELETE", "/v1/responses/resp_1"),
        ("openai", "GET", "/v1/responses/resp_1/input_items"),
        ("openai", "GET", "/v1/chat/completions"),
        ("openai", "POST", "/v1/chat/completions/chatcmpl-1"),
        ("openai", "POST", "/v1/fine_tuning/jobs"),
        ("openai", "POST", "/v1/assistants"),
        ("openai", "POST", "/v1/threads/t/runs"),
        ("openai", "POST", "/v1/vector_stores"),
        ("openai", "POST", "/v1/something_new"),
        ("groq", "GET", "/batches/b"),
        ("anthropic", "GET", "/v1/messages/batches/b/results"),
        ("anthropic", "POST", "/v1/files"),
        ("anthropic", "POST", "/v1/something_new"),
        ("gemini", "POST", "/v1beta/cachedContents"),
        ("gemini", "POST", "/upload/v1beta/files"),
        ("gemini", "GET", "/v1beta/batches/b"),
        ("gemini", "POST", "/v1beta/models/g:batchGenerateContent"),
        ("gemini", "GET", "/v1beta/interactions/i"),
    ],
)
def test_routes_of_stored_objects_need_permission(name: str, method: str, path: str) -> None:
    assert route(name, method, path).stored


@pytest.mark.parametrize(
    "path",
    [
        "/v1/organization/costs",
        "/v1/Organization/costs",
        "/v1//organization/costs",
        "/v1/%6frganization/costs",
        "/v1/%256frganization/costs",
        "/v1/organizations/x",
        "/v1/admin/keys",
        "/v1\\organization",
        "/v1/chat/../organization/costs",
        "/v1/chat/completions/..%2f..%2forganization",
        "/v1/files/%2e%2e/%2e%2e/organization",
        "/v1/./models",
        "/v1/%252e%252e/organization",
        "/v1/%25252525252e/x",
        "/v1/chat;/completions",
        "/v1/chat%00/completions",
        "/v1/chat%3f/completions",
    ],
)
@pytest.mark.parametrize("name", ["openai", "groq", "anthropic"])
def test_no_spelling_reaches_an_admin_route_as_something_else(name: str, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert route(name, method, path).admin


@pytest.mark.parametrize(
    "path", ["/v1beta/models/../x:generateContent", "/v1beta/%2e%2e/x", "/v1beta/openai/organization"]
)
def test_gemini_paths_cannot_climb_either(path: str) -> None:
    assert route("gemini", "POST", path).admin


def test_segments_are_decoded_and_empty_ones_left_out() -> None:
    assert segments("/a//b%2Fc/") == ("a", "b", "c")
    assert segments("/a/%2e%2E/b") is None


def test_stored_objects_are_named_by_the_path() -> None:
    assert route("openai", "GET", "/v1/responses/resp_7").object_id == "resp_7"
    assert route("anthropic", "GET", "/v1/messages/batches/msgbatch_7/results").object_id == "msgbatch_7"
    assert route("gemini", "GET", "/v1beta/batches/7").object_id == "batches/7"


def test_the_path_names_geminis_model_and_whether_it_streams() -> None:
    found = route("gemini", "POST", "/v1beta/models/gemini-2.5-flash:streamGenerateContent")
    assert (found.model, found.streaming) == ("gemini-2.5-flash", True)
    tuned = route("gemini", "POST", "/v1beta/tunedModels/mine:generateContent")
    assert (tuned.model, tuned.streaming) == ("tunedModels/mine", False)


def test_providers_are_found_by_name() -> None:
    assert {found.name for found in PROVIDERS} >= {"openai", "anthropic", "gemini", "groq"}
    assert all(by_name(found.name) is found for found in PROVIDERS)
    assert by_name("nobody") is None


def test_any_openai_compatible_service_is_a_provider() -> None:
    for base_url in ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/"):
        found = compatible("ollama", base_url)
        assert (found.name, found.base_url, found.prices_as) == ("ollama", "http://127.0.0.1:11434", "ollama")
        assert found.endpoint("POST", found.upstream_path("/chat/completions")).family == "chat.completions"


@pytest.mark.parametrize(
    ("name", "secret", "lines"),
    [
        ("openai", "sk-1", (("authorization", "Bearer sk-1"),)),
        ("groq", "gsk-1", (("authorization", "Bearer gsk-1"),)),
        ("anthropic", "sk-ant-api03", (("x-api-key", "sk-ant-api03"),)),
        ("anthropic", "sk-ant-oat01", (("authorization", "Bearer sk-ant-oat01"),)),
        ("gemini", "AIza", (("x-goog-api-key", "AIza"),)),
        ("gemini", "ya29.x", (("authorization", "Bearer ya29.x"),)),
    ],
)
def test_a_credential_goes_where_the_provider_expects_it(name: str, secret: str, lines: object) -> None:
    found = provider(name)
    route = found.endpoint("POST", found.upstream_path("/models/m:generateContent"))
    assert found.authorize(secret, route) == lines
    assert found.authorize(secret, route)[0][0] in found.credential_headers


def test_a_key_of_gemini_goes_as_a_bearer_to_its_compatible_endpoint() -> None:
    found = provider("gemini")
    route = found.endpoint("POST", "/v1beta/openai/chat/completions")
    assert found.authorize("AIza", route) == (("authorization", "Bearer AIza"),)


def test_a_residency_host_names_its_region() -> None:
    assert provider("openai").region("eu.api.openai.com") == "eu"
    assert provider("openai").region("api.openai.com") is None
    assert provider("openai").region("eu.api.example.com") is None
    assert provider("groq").region("eu.api.openai.com") is None


def test_only_providers_that_bill_on_are_drained() -> None:
    assert {found.name for found in PROVIDERS if found.drains} >= {"gemini", "groq"}
    assert not provider("openai").drains
    assert not provider("anthropic").drains
