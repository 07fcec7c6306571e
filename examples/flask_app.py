"""Flask: whose each request is becomes whose its LLM calls are.

FAREBOX_KEY=fbx_… OPENAI_API_KEY=sk-… flask --app examples/flask_app.py run
"""

import os

from flask import Flask, Response, jsonify, request, session
from openai import OpenAI

from farebox import Farebox, LimitExceeded
from farebox.client.middleware import WsgiContext, nobody

fb = Farebox()
openai = fb.wrap(OpenAI())

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "only for trying out")
app.wsgi_app = WsgiContext(app.wsgi_app, nobody)  # what a request says of its user ends with it


@app.before_request
def say_whose_it_is() -> None:
    if "user" in session:
        fb.context(tenant_id=session["company"], user_id=session["user"])


@app.post("/login")
def login() -> str:
    session.update(company=request.json["company"], user=request.json["user"])
    return "welcome"


@app.post("/summaries")
def summarize() -> Response:
    with fb.context(feature="summarize"):
        answer = openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt())
    return jsonify(summary=answer.choices[0].message.content)


@app.post("/chat")
def chat() -> Response:
    with fb.context(feature="chat"):
        pieces = openai.chat.completions.create(model="gpt-4.1-mini", messages=prompt(), stream=True)
    return Response((piece.choices[0].delta.content or "" for piece in pieces), mimetype="text/plain")


@app.errorhandler(LimitExceeded)
def used_up(full: LimitExceeded) -> tuple[Response, int]:
    return jsonify(error=full.message, resets_at=full.reset_at), 429


def prompt() -> list[dict[str, str]]:
    return [{"role": "user", "content": request.json["text"]}]
