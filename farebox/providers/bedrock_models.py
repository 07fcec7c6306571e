"""Bedrock's names of models: plain ids, ids with a geography before them, and ARNs.

`us.anthropic.claude-sonnet-4-6` runs the same model as `anthropic.claude-sonnet-4-6`; the geography stays in the
name, since prices depend on it. An ARN of a foundation model or of a system's inference profile ends with such an id;
one of an application's profile, a provisioned or an imported model hides the model behind a name of its own.
"""

from typing import Final

_NAMED_MODELS: Final = ("foundation-model/", "inference-profile/")
GEOGRAPHIES: Final = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "in", "ca", "sa", "global"})


def model_name(given: str) -> str:
    """The model that a name means, as far as the name says it: the id inside an ARN that has one, else the name.

    >>> model_name("arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0")
    'us.amazon.nova-pro-v1:0'
    """
    if not given.startswith("arn:"):
        return given
    for kind in _NAMED_MODELS:
        if f":{kind}" in given:
            return given[given.index(f":{kind}") + len(kind) + 1 :]
    return given


def aliases_of(given: str) -> tuple[str, ...]:
    """The names under which a customer may say what stands behind one: as given, and the last part of an ARN."""
    return (given, given.rpartition("/")[2]) if given.startswith("arn:") else (given,)


def vendor_of(model: str) -> str:
    """'anthropic' of 'us.anthropic.claude-…'; '' where the name does not say it."""
    parts = model.split(".")
    if len(parts) > 2 and parts[0] in GEOGRAPHIES:
        return parts[1]
    return parts[0] if len(parts) > 1 else ""
