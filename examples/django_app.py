"""Django in one file: whose each request is becomes whose its LLM calls are.

FAREBOX_KEY=fbx_… OPENAI_API_KEY=sk-… python examples/django_app.py runserver
"""

import json
import os
import sys
from collections.abc import Callable

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from openai import OpenAI

from farebox import Farebox, LimitExceeded

fb = Farebox()
openai = fb.wrap(OpenAI())


class Attribution:
    """Stands below Django's own middleware, which knows the session and the user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with fb.context(tenant_id=request.session.get("company"), user_id=request.session.get("user")):
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, LimitExceeded):
            return None
        return JsonResponse({"error": error.message, "resets_at": error.reset_at}, status=429)


settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", "only for trying out"),
    ALLOWED_HOSTS=["localhost", "127.0.0.1", "testserver"],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", f"{__name__}.Attribution"],
)
django.setup()


def login(request: HttpRequest) -> HttpResponse:
    request.session.update(json.loads(request.body))
    return HttpResponse("welcome")


def summarize(request: HttpRequest) -> HttpResponse:
    with fb.context(feature="summarize"):
        answer = openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt(request))
    return JsonResponse({"summary": answer.choices[0].message.content})


def chat(request: HttpRequest) -> StreamingHttpResponse:
    """The call is made here, where its request is still known; only its words come later."""
    with fb.context(feature="chat"):
        pieces = openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt(request), stream=True)
    words = (piece.choices[0].delta.content or "" for piece in pieces)
    return StreamingHttpResponse(words, content_type="text/plain")


def prompt(request: HttpRequest) -> list[dict[str, str]]:
    return [{"role": "user", "content": json.loads(request.body)["text"]}]


urlpatterns = [path("login", login), path("summaries", summarize), path("chat", chat)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
