"""Which object a path leads to, what a route does there, and what answers say of stored objects."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from answers import JSON, Exchange
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.events import Stored
from farebox.providers.references import Unreadable, references

ARN = "arn:aws:bedrock:us-east-1:1:async-invoke/i1"
PLACE = "projects/p/locations/us-central1"
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
    ("gemini", "POST", "/upload/v1beta/files", "make", None),
    ("gemini", "POST", "/upload/v1beta/fileSearchStores/s1:uploadToFileSearchStore", "change", "fileSearchStores/s1"),
    ("gemini", "POST", "/upload/v1beta/novel", "", None),
    ("mistral", "POST", "/v1/files", "make", None),
    ("mistral", "GET", "/v1/files", "list", None),
    ("mistral", "GET", "/v1/files/f1/content", "read", "f1"),
    ("mistral", "DELETE", "/v1/files/f1", "delete", "f1"),
    ("mistral", "POST", "/v1/batch/jobs", "make", None),
    ("mistral", "GET", "/v1/batch/jobs", "list", None),
    ("mistral", "GET", "/v1/batch/jobs/j1", "read", "j1"),
    ("mistral", "POST", "/v1/batch/jobs/j1/cancel", "change", "j1"),
    ("mistral", "POST", "/v1/conversations/c1", "change", "c1"),
    ("mistral", "GET", "/v1/conversations/c1/history", "read", "c1"),
    ("mistral", "GET", "/v1/libraries/l1/documents", "read", "l1"),
    ("mistral", "GET", "/v1/novel/x", "", None),
    ("cohere", "POST", "/v1/datasets", "make", None),
    ("cohere", "GET", "/v1/datasets/d1", "read", "d1"),
    ("cohere", "POST", "/v1/embed-jobs", "make", None),
    ("cohere", "GET", "/v1/embed-jobs", "list", None),
    ("cohere", "GET", "/v1/embed-jobs/e1", "read", "e1"),
    ("cohere", "POST", "/v1/embed-jobs/e1/cancel", "change", "e1"),
    ("cohere", "GET", "/v2/batches/b1", "read", "b1"),
    ("xai", "POST", "/v1/batches", "make", None),
    ("xai", "POST", "/v1/batches/b1/requests", "change", "b1"),
    ("xai", "GET", "/v1/batches/b1", "read", "b1"),
    ("xai", "GET", "/v1/batches/b1/results", "read", "b1"),
    ("xai", "GET", "/v1/chat/deferred-completion/r1", "read", "r1"),
    ("xai", "GET", "/v1/videos/v1", "read", "v1"),
    ("perplexity", "GET", "/async/chat/completions", "list", None),
    ("perplexity", "GET", "/async/chat/completions/a1", "read", "a1"),
    ("perplexity", "GET", "/v1/async/sonar/a1", "read", "a1"),
    ("bedrock", "GET", "/async-invoke", "list", None),
    ("bedrock", "GET", f"/async-invoke/{quote(ARN, safe='')}", "read", ARN),
    ("bedrock", "GET", f"/async-invoke/{ARN}", "read", ARN),
    ("vertex", "GET", f"/v1/{PLACE}/cachedContents", "list", None),
    ("vertex", "POST", f"/v1/{PLACE}/cachedContents", "make", None),
    ("vertex", "GET", f"/v1/{PLACE}/cachedContents/c1", "read", "cachedContents/c1"),
    ("vertex", "DELETE", f"/v1/{PLACE}/cachedContents/c1", "delete", "cachedContents/c1"),
    ("vertex", "GET", f"/v1/{PLACE}/batchPredictionJobs/b1", "", None),
    ("openai", "POST", "/v1/realtime/calls/rtc_1/hangup", "change", "rtc_1"),
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
    "a batch of Mistral's": (
        "mistral", "POST", "/v1/batch/jobs", {"id": "j1", "input_files": ["f1"], "output_file": None},
        (Stored("j1"), Stored("j1", "of", "f1")),
    ),
    "a job of Cohere's": ("cohere", "POST", "/v1/embed-jobs", {"job_id": "e1", "meta": {}}, (Stored("e1"),)),
    "a data set": ("cohere", "POST", "/v1/datasets", {"id": "d1"}, (Stored("d1"),)),
    "a batch of Cohere's": ("cohere", "POST", "/v2/batches", {"batch": {"id": "b1"}}, (Stored("b1"),)),
    "a batch of xAI's": ("xai", "POST", "/v1/batches", {"batch_id": "b1", "name": "n"}, (Stored("b1"),)),
    "a file of Google's": (
        "gemini", "POST", "/upload/v1beta/files", {"file": {"name": "files/f1", "uri": "https://x"}},
        (Stored("files/f1"),),
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


BILLED: dict[str, tuple[str, str, str, object, str | None, tuple[Stored, ...]]] = {
    "a conversation": (
        "mistral", "POST", "/v1/conversations", {"conversation_id": "c1", "outputs": []}, None, (Stored("c1"),)
    ),
    "a conversation that goes on": (
        "mistral", "POST", "/v1/conversations/c1", {"conversation_id": "c1", "outputs": []}, None, ()
    ),
    "a job of Cohere's that is done": (
        "cohere", "GET", "/v1/embed-jobs/e1", {"status": "complete", "output_dataset_id": "d2"}, "e1",
        (Stored("d2", "of", "e1"),),
    ),
    "an asynchronous invocation": ("bedrock", "POST", "/async-invoke", {"invocationArn": ARN}, None, (Stored(ARN),)),
    "a cache of Vertex'": (
        "vertex", "POST", f"/v1/{PLACE}/cachedContents",
        {"name": "projects/77/locations/us-central1/cachedContents/c1"}, None, (CACHE,),
    ),
    "a ticket of xAI's": ("xai", "POST", "/v1/chat/completions", {"request_id": "r1"}, "r1", ()),
    "a ticket of Perplexity's": (
        "perplexity", "POST", "/async/chat/completions", {"id": "a1", "status": "CREATED"}, "a1", ()
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BILLED)
def test_billed_answers_tell_what_they_made(what: str) -> None:
    name, method, path, answer, object_id, objects = BILLED[what]
    metered = Exchange(name, path, method=method, headers=JSON).metered(json.dumps(answer).encode())
    assert (metered.object_id, metered.objects) == (object_id, objects)


def test_results_of_mistral_are_one_bill_whether_read_from_the_job_or_from_its_file() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    line = {"custom_id": "1", "response": {"status_code": 200, "body": {"model": "mistral-small", "usage": usage}}}
    job = {"id": "j1", "model": "mistral-small", "outputs": [line], "output_file": "f2", "succeeded_requests": 1}
    inline = Exchange("mistral", "/v1/batch/jobs/j1", method="GET", headers=JSON).metered(job)
    in_file = Exchange("mistral", "/v1/files/f2/content", method="GET").metered(json.dumps(line).encode())
    assert inline.usage == in_file.usage == {"input": 10, "output": 5}
    assert inline.object_id == in_file.object_id == "f2"
    assert inline.objects == (Stored("f2", "of", "j1"), Stored("f2", "read"))
    alone = Exchange("mistral", "/v1/batch/jobs/j1", method="GET", headers=JSON).metered({**job, "output_file": None})
    assert alone.object_id == "j1"
    empty = Exchange("mistral", "/v1/batch/jobs/j1", method="GET", headers=JSON).metered({**job, "outputs": None})
    assert (empty.usage, empty.object_id, empty.objects) == ({}, "j1", (Stored("f2", "of", "j1"),))


def test_the_content_of_an_upload_names_nothing() -> None:
    family = Exchange("gemini", "/upload/v1beta/files", method="POST").endpoint.family
    assert references(family, b"\0\1 cachedContent") == frozenset()


def test_a_cache_has_one_name_however_its_project_is_spelt() -> None:
    asked = json.dumps({"cachedContent": "projects/p/locations/eu/cachedContents/c1", "contents": []}).encode()
    assert references("gemini.generateContent", asked) == {"cachedContents/c1"}


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
