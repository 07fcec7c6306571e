"""A serverless function, with AWS Lambda's signature. It may be frozen as soon as it has answered: so it flushes first.

Its environment has FAREBOX_URL, FAREBOX_KEY and OPENAI_API_KEY.
"""

import json
from typing import Any

from openai import OpenAI

from farebox import Farebox, LimitExceeded

fb = Farebox()
openai = fb.wrap(OpenAI())


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    asked = json.loads(event["body"])
    who = event["requestContext"]["authorizer"]
    try:
        with fb.context(tenant_id=who["company"], user_id=who["user"], feature="summarize"):
            answer = openai.chat.completions.create(
                model="gpt-4.1-mini", messages=[{"role": "user", "content": asked["text"]}]
            )
        return {"statusCode": 200, "body": json.dumps({"summary": answer.choices[0].message.content})}
    except LimitExceeded as full:
        return {"statusCode": 429, "body": json.dumps({"error": full.message, "resets_at": full.reset_at})}
    finally:
        fb.flush(timeout_s=2)
