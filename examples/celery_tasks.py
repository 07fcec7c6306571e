"""Celery: a task of the queue is a task in Farebox, its retries included, so that reports say what one done costs.

    FAREBOX_KEY=fbx_… OPENAI_API_KEY=sk-… celery -A examples.celery_tasks worker

Forked workers send their own events, and what is left when one of them ends.
"""

import os
from typing import Any

import openai
from celery import Celery, Task

from farebox import Farebox, LimitExceeded

app = Celery("summaries", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost"))
fb = Farebox()
client = fb.wrap(openai.OpenAI())


@app.task(bind=True, autoretry_for=(openai.APIError,), max_retries=3, default_retry_delay=1)
def summarize(self: Task, tenant_id: str, text: str) -> str | None:
    """A summary; None where the customer has used up what it may."""
    messages: list[Any] = [{"role": "user", "content": text}]
    with fb.context(tenant_id=tenant_id, feature="summarize"):
        with fb.task(self.request.id) as task:
            try:
                answer = client.chat.completions.create(model="gpt-4.1-mini", messages=messages)
            except LimitExceeded:
                task.failed("refused")  # trying again does not help before the limit's reset
                return None
            task.succeeded()
        return answer.choices[0].message.content
