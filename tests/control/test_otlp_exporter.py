"""OpenTelemetry's own SDK and exporter against a real server: as an app would be set up."""

import pytest
from harness import Farebox, Key

pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs opentelemetry-exporter-otlp-proto-http")

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from otlp_making import CHAT

SECRET = "what is the password of the vault"


def exporter(monkeypatch: pytest.MonkeyPatch, server: Farebox, secret: str, **options: object) -> OTLPSpanExporter:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{server.url}/api/v1/otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{secret}")
    return OTLPSpanExporter(**options)  # type: ignore[arg-type]


def provider(exporting: OTLPSpanExporter) -> TracerProvider:
    made = TracerProvider(resource=Resource({"service.name": "api", "deployment.environment.name": "prod"}))
    made.add_span_processor(BatchSpanProcessor(exporting))
    return made


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_a_call_under_an_agent_is_one_priced_event(
    monkeypatch: pytest.MonkeyPatch, server: Farebox, key: Key, compression: Compression
) -> None:
    tenant = f"acme-{compression.name}"
    tracers = provider(exporter(monkeypatch, server, key.secret, compression=compression))
    tracer = tracers.get_tracer("app")
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        framework = tracer.start_as_current_span("framework", attributes=CHAT)
        with framework, tracer.start_as_current_span("chat", kind=SpanKind.CLIENT) as span:
            span.set_attributes({**CHAT, "farebox.tenant": tenant, "user.id": "u_77", "gen_ai.input.messages": SECRET})
            span.set_attribute("gen_ai.response.finish_reasons", ["stop"])
            span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": SECRET})
        with tracer.start_as_current_span("tool", attributes={"gen_ai.operation.name": "execute_tool"}):
            pass
    tracers.shutdown()
    event = server.the_event(tenant=tenant)
    context = span.get_span_context()
    assert event["id"] == f"otel-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    assert event["usage"] == {"input": 112, "cache_read": 1024, "output": 60, "reasoning": 128}
    assert (event["user"], event["tags"]) == ("u_77", {"service": "api", "environment": "prod"})
    assert (event["cost_source"], event["key_id"]) == ("computed", key.id)
    assert event["cost_usd"] == "0.000448000000"  # 112 x 0.40, 1024 x 0.10, 188 x 1.60 per million
    assert SECRET not in repr(event)


def test_a_batch_that_is_sent_again_counts_once_and_a_failure_is_one(
    monkeypatch: pytest.MonkeyPatch, server: Farebox, key: Key
) -> None:
    exporting = exporter(monkeypatch, server, key.secret)
    tracer = TracerProvider().get_tracer("app")
    said = {**CHAT, "farebox.tenant": "resent"}
    with tracer.start_as_current_span("chat", attributes=said) as first:
        pass
    with tracer.start_as_current_span("chat", attributes={**said, "gen_ai.usage.input_tokens": 0}) as failed:
        for name in CHAT:
            if name.startswith("gen_ai.usage"):
                failed.set_attribute(name, 0)
        failed.set_attribute("error.type", "RateLimitError")
        failed.set_status(StatusCode.ERROR, SECRET)
    for _ in range(2):
        assert exporting.export([first, failed]) is SpanExportResult.SUCCESS
    events = server.events(tenant="resent")
    assert sorted((event["state"], event["status"], event["cost_usd"]) for event in events) == [
        ("done", None, "0.000448000000"), ("upstream_error", 429, "0.000000000000"),
    ]  # fmt: skip


def test_an_exporter_that_may_not_send_is_told(monkeypatch: pytest.MonkeyPatch, server: Farebox) -> None:
    exporting = exporter(monkeypatch, server, "fbx_nobody")
    with TracerProvider().get_tracer("app").start_as_current_span("chat", attributes=CHAT) as span:
        pass
    assert exporting.export([span]) is SpanExportResult.FAILURE
