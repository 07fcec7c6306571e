"""Units by rule: whom a rule is for, and what a call counts once for."""

import pytest

from farebox.core.attribution import Attribution
from farebox.core.units import Once, UnitRule, once_of, written

WHO = Attribution("acme", None, "u", None, "analyze", "t", None, {"deep": True, "pages": 3}, ())


@pytest.mark.parametrize(
    ("where", "meets"),
    [
        ({"feature": "analyze"}, True),
        ({"feature": "analyze", "tenant": "acme"}, True),
        ({"feature": "analyze", "tenant": "globex"}, False),
        ({"tag.deep": "true", "tag.pages": "3"}, True),
        ({"tag.deep": "True"}, False),
        ({"tag.region": "eu"}, False),
        ({"session": ""}, False),
    ],
)
def test_all_conditions_of_a_rule_must_hold(where: dict[str, str], meets: bool) -> None:
    assert UnitRule("analyses", tuple(where.items())).meets(WHO) is meets


@pytest.mark.parametrize(
    ("per", "value"), [("task", "t"), ("user", "u"), ("tag.pages", "3"), ("session", None), ("", None)]
)
def test_a_value_that_counts_once_belongs_to_its_tenant(per: str, value: str | None) -> None:
    rule = UnitRule("analyses", (), per)
    assert once_of(rule, WHO) == (None if value is None else Once("analyses", per, "acme", value))


def test_a_record_says_what_a_unit_is_counted_once_for() -> None:
    once = {"analyses": Once("analyses", "task", "acme", "t")}
    assert written({"analyses": 2, "pages": 1}, once) == {"analyses#task": 2, "pages": 1}
