"""Which object a path leads to, what a route does there, and what answers say of stored objects."""

import json
from typing import Any

import pytest
from answers import JSON, Exchange
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.events import Stored
from farebox.providers.references import Unreadable, references

PLACES = [
    ("openai", "POST", "/v1/files", "make", None),
    ("openai", "GET", "/v1/files", "list", None),
    ("openai", "GET", "/v1/files/file-1", "read", "file-1"),
    ("openai", "GET", "/v1/files/file-1/content", "read", "file-1"),
    ("openai", "GET", "/v1/files/f%2569le-1", "read", "file-1"),
    ("openai", "DELETE", "/v1/files/file-1", "delete", "file-1"),
    ("openai", "PUT", "/v1/files/file-1", "", "file-1"),
    ("openai", "POST", "/v1/batches", "make", None),
    ("openai", "POST", "/v1/batches/batch_1/cancel", "change", "batch_1"),
    ("openai", "GET", "/v1/responses/resp_1/input_items", "read", "resp_1"),
    ("openai", "DELETE", "/v1/responses/resp_1", "delete", "resp_1"),
    ("openai", "GET", "/v1/chat/completions", "list", None),
    ("openai", "GET", "/v1/chat/completions/chatcmpl-1", "read", "chatcmpl-1"),
    ("openai", "POST", "/v1/threads/runs", "make", None),
    ("openai", "POST", "/v1/threads/thread_1/runs", "change", "thread_1"),
    ("openai", "GET", "/v1/threads/thread_1/runs/run_1", "read", "thread_1"),
    ("openai", "DELETE", "/v1/vector_stores/vs_1/files/file-1", "change", "vs_1"),
    ("openai", "POST", "/v1/fine_tuning/jobs", "make", None),
    ("openai", "GET", "/v1/containers/cntr_1/files/cfile_1/content", "read", "cntr_1"),
    ("openai", "DELETE", "/v1/models/ft:gpt-4.1:acme::1", "delete", "ft:gpt-4.1:acme::1"),
    ("openai", "POST", "/v1/novel", "", None),
    ("openai", "GET", "/v1/novel/x", "", None),
    ("anthropic", "POST", "/v1/messages/batches", "make", None),
    ("anthropic", "GET", "/v1/messages/batches", "list", None),
    ("anthropic", "GET", "/v1/messages/batches/msgbatch_1/results", "read", "msgbatch_1"),
    ("anthropic", "DELETE", "/v1/files/file_1", "delete", "file_1"),
    ("anthropic", "POST", "/v1/skills/skill_1/versions", "change", "skill_1"),
    ("gemini", "POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", "make", None),
    ("gemini", "GET", "/v1beta/batches/b1", "read", "batches/b1"),
    ("gemini", "POST", "/v1beta/batches/b1:cancel", "change", "batches/b1"),
    ("gemini", "GET", "/v1beta/files/f1", "read", "files/f1"),
    ("gemini", "GET", "/v1beta/files/f1:download", "read", "files/f1"),
    ("gemini", "GET", "/download/v1beta/files/f1:download", "read", "files/f1"),
    ("gemini", "POST", "/upload/v1beta/files", "", None),
    ("gemini", "POST", "/v1beta/cachedContents", "make", None),
    ("gemini", "PATCH", "/v1beta/cachedContents/c1", "change", "cachedContents/c1"),
    ("gemini", "DELETE", "/v1beta/fileSearchStores/s1/documents/d1", "change", "fileSearchStores/s1"),
    ("gemini", "GET", "/v1beta/interactions/i1", "read", "i1"),
    ("gemini", "GET", "/v1beta/openai/batches/b1", "read", "b1"),
]


@pytest.mark.parametrize(("name", "method", "path", "action", "root"), PLACES)
def test_a_path_leads_to_an_object(name: str, method: str, path: str, action: str, root: str | None) -> None:
    endpoint = Exchange(name, path, method=method).endpoint
    assert endpoint.stored
    assert (endpoint.action, endpoint.root) == (action, root)


BATCH = {
    "id": "batch_1",
    "object": "batch",
    "input_file_id": "file-in",
    "output_file_id": "file-out",
    "error_file_id": None,
}
LINKS = (Stored("batch_1", "of", "file-in"), Stored("file-out", "of", "batch_1"))
CACHE = Stored("cachedContents/c1")
ANSWERS: dict[str, tuple[str, str, str, object, tuple[Stored, ...]]] = {
    "a file": ("openai", "POST", "/v1/files", {"id": "file-1"}, (Stored("file-1"),)),
    "a batch": ("openai", "POST", "/v1/batches", BATCH, (Stored("batch_1"), *LINKS)),
    "a batch that is read": ("openai", "GET", "/v1/batches/batch_1", BATCH, LINKS),
    "batches": ("openai", "GET", "/v1/batches", {"object": "list", "data": [BATCH]}, LINKS),
    "a batch that is cancelled": ("openai", "POST", "/v1/batches/batch_1/cancel", BATCH, LINKS),
    "a job": (
        "openai", "GET", "/v1/fine_tuning/jobs/ftjob-1",
        {"id": "ftjob-1", "training_file": "file-t", "result_files": ["file-r", "file-r"]},
        (Stored("ftjob-1", "of", "file-t"), Stored("file-r", "of", "ftjob-1")),
    ),
    "an upload": (
        "openai", "POST", "/v1/uploads/upload_1/complete", {"id": "upload_1", "file": {"id": "file-2"}},
        (Stored("file-2", "of", "upload_1"),),
    ),
    "a deleted file": (
        "openai", "DELETE", "/v1/files/file-1", {"id": "file-1", "deleted": True}, (Stored("file-1", "gone"),)
    ),
    "a batch of messages": (
        "anthropic", "POST", "/v1/messages/batches", {"id": "msgbatch_1", "type": "message_batch"},
        (Stored("msgbatch_1"),),
    ),
    "a cache": ("gemini", "POST", "/v1beta/cachedContents", {"name": "cachedContents/c1"}, (CACHE,)),
    "a batch of Google's": (
        "gemini", "POST", "/v1beta/models/m:batchGenerateContent", {"name": "batches/b1", "metadata": {}},
        (Stored("batches/b1"),),
    ),
    "a finished batch of Google's": (
        "gemini", "GET", "/v1beta/batches/b1", {"name": "batches/b1", "response": {"responsesFile": "files/r1"}},
        (Stored("files/r1", "of", "batches/b1"),),
    ),
    "nothing that is known": ("openai", "POST", "/v1/files", ["file-1"], ()),
    "numbers": ("openai", "POST", "/v1/files", {"id": 7, "file": 3, "data": {"id": "x"}}, ()),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERS)
def test_answers_tell_of_objects(what: str) -> None:
    name, method, path, answer, objects = ANSWERS[what]
    metered = Exchange(name, path, method=method, headers=JSON).metered(json.dumps(answer).encode())
    assert metered.objects == objects
    assert (metered.usage, metered.quality) == ({}, "exact")


def test_an_error_tells_of_none() -> None:
    for method in ("POST", "GET", "DELETE"):
        refused = Exchange("openai", "/v1/batches/batch_1", method=method, status=404).metered({"id": "batch_1"})
        assert refused.objects == ()


def test_a_large_page_is_read_in_bounds() -> None:
    page = {"object": "list", "data": [{**BATCH, "id": f"batch_{number}"} for number in range(20_000)]}
    metered = Exchange("openai", "/v1/batches", method="GET").metered(page)
    assert 0 < len(metered.objects) <= 200


ITEMS = [{"id": "a"}, {"type": "item_reference", "id": "b"}, {"role": "user", "id": "c"}]
THREAD = {"tool_resources": {"file_search": {"vector_store_ids": ["b"]}}}
GEMINI = "gemini.generateContent"
NAMED: list[tuple[str, Any, set[str]]] = [
    ("responses", {"previous_response_id": "a", "conversation": {"id": "b"}}, {"a", "b"}),
    ("responses", {"input": ITEMS}, {"a", "b"}),
    ("messages", {"container": {"id": "a", "skills": [{"type": "anthropic", "skill_id": "pptx"}]}}, {"a"}),
    ("messages", {"container": {"skills": [{"type": "custom", "skill_id": "b"}]}}, {"b"}),
    (GEMINI, {"parts": [{"fileData": {"fileUri": "https://g.co/v1beta/files/a"}}]}, {"files/a"}),
    (GEMINI, {"parts": [{"file_data": {"file_uri": "files/a?x=1"}}]}, {"files/a"}),
    (GEMINI, {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/a"]}}, {"fileSearchStores/a"}),
    ("chat.completions", {"messages": [{"id": "a", "content": "x"}]}, set()),
    ("stored", {"file_ids": ["a", "b"], "metadata": {"file_id": "c"}}, {"a", "b"}),
    ("threads.runs", {"assistant_id": "a", "thread": THREAD}, {"a", "b"}),
]


@pytest.mark.parametrize(("family", "body", "found"), NAMED)
def test_a_body_names_objects(family: str, body: Any, found: set[str]) -> None:
    assert references(family, json.dumps(body).encode()) == found
    assert references(family, json.dumps(body, indent=1).encode("utf-16")) == found


def test_a_body_that_names_too_many_is_refused() -> None:
    with pytest.raises(Unreadable, match="more than"):
        references("responses", json.dumps({"file_ids": [str(number) for number in range(20_000)]}).encode())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["file_id", "input", "id", "type"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["file_id", "input", "id", "type", "container", "skills", "metadata"]), inner)
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_json_makes_it_raise(value: Any) -> None:
    for family in ("responses", "messages", "stored"):
        found = references(family, json.dumps(value).encode())
        assert all(isinstance(name, str) for name in found)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_name_nothing(body: bytes) -> None:
    for data in (
        body,
        b'{"file_id":' + body,
        b"--b\r\n" + body,
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + body,
    ):
        try:
            references("responses", data)
        except Unreadable:
            continue
