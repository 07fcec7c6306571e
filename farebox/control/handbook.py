"""/api/v1/docs: the OpenAPI description as one plain page, with nothing fetched from anywhere."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

Spec = Mapping[str, Any]  # Any: a JSON document

_STYLE: Final = """
:root{--ground:#fff;--raised:#f7f7f5;--line:#e4e4e0;--text:#1c1c1a;--second:#63635e;--accent:#1f6f5c}
@media(prefers-color-scheme:dark){:root{--ground:#131413;--raised:#1b1d1b;--line:#2e312e;--text:#ececE6;
--second:#a0a39c;--accent:#58b89c}}
body{font:14px/1.45 system-ui,sans-serif;color:var(--text);background:var(--ground);margin:0 auto;max-width:960px;
padding:32px 24px}
h1{font-size:28px;font-weight:600;margin:0 0 8px}h2{font-size:20px;font-weight:600;margin:48px 0 8px}
h3{font-size:14px;font-weight:600;margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}
section{border-top:1px solid var(--line);padding:16px 0}p{margin:4px 0 8px}
code{font-family:ui-monospace,monospace;font-size:13px}
.method{color:var(--accent);margin-right:8px}.second{color:var(--second)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:4px 16px 4px 0;
border-bottom:1px solid var(--line)}th{font-weight:600;color:var(--second);font-size:12px}
a{color:var(--accent)}details summary{cursor:pointer;color:var(--second)}
"""
POLICY: Final = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""Content-Security-Policy of the page: its one style and nothing else."""


def handbook(spec: Spec) -> str:
    """The page for an OpenAPI document. Everything taken from the document is escaped."""
    info = spec.get("info", {})
    body = "".join(_sections(spec))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(str(info.get('title', 'API')))}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(str(info.get('title', 'API')))}</h1>"
        f'<p class="second">Version {escape(str(info.get("version", "")))} · '
        '<a href="openapi.json">openapi.json</a></p>'
        f"{_paragraphs(str(info.get('description', '')))}{body}</body></html>"
    )


def _sections(spec: Spec) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in spec.get("paths", {}).items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(spec, method, path, operation))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>{''.join(operations)}"


def _operation(spec: Spec, method: str, path: str, operation: Spec) -> str:
    role = operation.get("x-farebox-role")
    needed = f'<p class="second">Role: {escape(str(role))}</p>' if role else ""
    return (
        f'<section><h3><span class="method">{escape(method.upper())}</span>{escape(path)}</h3>'
        f"{_paragraphs(str(operation.get('description') or operation.get('summary') or ''))}{needed}"
        f"{_table(_parameters(operation), 'Parameters')}{_table(_body(spec, operation), 'Body')}</section>"
    )


def _parameters(operation: Spec) -> list[tuple[str, str, str]]:
    return [
        (str(item["name"]), str(item.get("in", "")), str(item.get("description", "")))
        for item in operation.get("parameters", ())
    ]


def _body(spec: Spec, operation: Spec) -> list[tuple[str, str, str]]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolved(spec, content.get("application/json", {}).get("schema", {}))
    required = schema.get("required", ())
    return [
        (name, _kind(field) + (", required" if name in required else ""), str(field.get("description", "")))
        for name, field in schema.get("properties", {}).items()
    ]


def _resolved(spec: Spec, schema: Spec) -> Spec:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Spec = spec.get("components", {}).get("schemas", {}).get(name, {}) if name else schema
    return found


def _kind(field: Spec) -> str:
    kinds = [str(option.get("type", "object")) for option in field.get("anyOf", ())] or [str(field.get("type", "any"))]
    return " or ".join(kinds)


def _table(rows: list[tuple[str, str, str]], title: str) -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<tr><td><code>{escape(name)}</code></td><td class="second">{escape(kind)}</td><td>{escape(text)}</td></tr>'
        for name, kind, text in rows
    )
    table = f"<table><tr><th>{title}</th><th></th><th></th></tr>{lines}</table>"
    return f"<details><summary>{len(rows)} {title.lower()}</summary>{table}</details>" if len(rows) > 8 else table


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())
