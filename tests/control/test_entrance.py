import base64
import hashlib
import re

from farebox.control.handbook import handbook
from farebox.errors import KeeperUnavailable

OPEN = ("/healthz", "/readyz", "/api/webhooks/stripe", "/api/webhooks/stripe/customers")


def test_the_root_says_where_the_api_is(api):
    assert api.get("/", None).json()["docs"] == "/api/v1/docs"


def test_the_docs_fetch_nothing_and_run_nothing(api):
    answer = api.get("/api/v1/docs", None)
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_the_docs_show_every_route_with_its_role(api):
    spec = api.get("/api/v1/openapi.json", None).json()
    page = api.get("/api/v1/docs", None).text
    for path, methods in spec["paths"].items():
        assert path in page
        for operation in methods.values():
            assert operation.get("x-farebox-role") or path in OPEN
            assert operation["description"]


def test_every_parameter_of_usage_is_described(api):
    spec = api.get("/api/v1/openapi.json", None).json()
    named = {item["name"] for item in spec["paths"]["/api/v1/usage"]["get"]["parameters"]}
    assert {"group_by", "since", "until", "measures", "order", "limit", "as_of", "tenant", "tag.NAME"} <= named


def test_text_of_the_description_cannot_become_markup():
    page = handbook({"info": {"title": "<b>x</b>"}, "paths": {"/a": {"get": {"summary": "<script>1</script>"}}}})
    assert "<b>" not in page
    assert "<script>" not in page


def test_health_says_that_the_process_answers(api):
    assert api.get("/healthz", None).json() == {"status": "ok"}
    assert api.ask("HEAD", "/healthz", None).status_code == 200


def test_ready_means_that_questions_can_be_answered(api):
    assert api.get("/readyz", None).json() == {"status": "ready", "checks": {"keeper": "ok", "directory": "ok"}}
    api.keeper.answers["ping"] = KeeperUnavailable("down")
    answer = api.get("/readyz", None)
    assert answer.status_code == 503
    assert answer.json()["checks"]["directory"] == "ok"
