"""Attribution: four sources, one order, and nothing that contradicts what a key is bound to."""

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.attribution import (
    NAMES,
    NO_FIELDS,
    TAGS_MAX,
    BodyFields,
    claim_header,
    merge,
    own_fields,
    parse_tags,
    parse_units,
)
from farebox.core.events import DIMENSIONS
from farebox.errors import AttributionConflict, AttributionMissing, InvalidRequest, InvalidTags


def fields(**values: object) -> BodyFields:
    return msgspec.json.decode(json.dumps(values), type=BodyFields)


PRECEDENCE: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"fields": fields(user_id="body")}, "body"),
    ({"fields": fields(user="body")}, "body"),
    ({"fields": fields(metadata={"user_id": "body"})}, "body"),
    ({"fields": fields(safety_identifier="body")}, "body"),
    ({"fields": fields(user_id="named", user="provider's")}, "named"),
    ({"fields": fields(user="first", metadata={"user_id": "second"}, safety_identifier="third")}, "first"),
    ({"tags": {"user_id": "tag"}, "fields": fields(user_id="body")}, "tag"),
    ({"tags": {"user": "tag"}}, "tag"),
    ({"headers": {"user": "header"}, "tags": {"user_id": "tag"}, "fields": fields(user="body")}, "header"),
    ({"bind": {"user": "bound"}}, "bound"),
    ({"bind": {"user": "same"}, "headers": {"user": "same"}, "fields": fields(user="same")}, "same"),
    ({"tags": {"user": ""}, "fields": fields(user_id="")}, None),
    ({"tags": {"user": 7}}, "7"),
    ({"tags": {"user": True}}, "true"),
    ({"fields": fields(user_id=7)}, "7"),
    ({"fields": fields(metadata="no object", user=7)}, None),
    ({"fields": fields(metadata={"user_id": {"a": 1}}, safety_identifier=["x"])}, None),
]


def attribution(  # type: ignore[no-untyped-def]
    bind=None, headers=None, tags=None, fields: BodyFields = NO_FIELDS, require: frozenset[str] = frozenset()
):
    return merge(bind or {}, headers or {}, tags, fields, require)


@pytest.mark.parametrize(("sources", "expected"), PRECEDENCE)
def test_bound_comes_before_headers_before_tags_before_the_body(sources: dict[str, Any], expected: str | None) -> None:
    assert attribution(**sources).user == expected


@pytest.mark.parametrize(
    "source",
    [
        {"headers": {"tenant": "globex"}},
        {"tags": {"tenant_id": "globex"}},
        {"tags": {"customer": "globex"}},
        {"fields": fields(customer_id="globex")},
        {"fields": fields(tenant="globex")},
    ],
)
def test_no_source_may_contradict_a_bound_dimension(source: dict[str, Any]) -> None:
    with pytest.raises(AttributionConflict, match="bound to tenant 'acme'"):
        attribution(bind={"tenant": "acme"}, **source)


def test_a_lower_source_contradicts_even_where_a_higher_one_agrees() -> None:
    with pytest.raises(AttributionConflict):
        attribution(bind={"tenant": "acme"}, headers={"tenant": "acme"}, fields=fields(tenant_id="globex"))
    with pytest.raises(AttributionConflict):
        attribution(bind={"user": "u1"}, fields=fields(user_id="u1", user="u2"))


def test_bound_tags_are_added_and_hold() -> None:
    assert attribution(bind={"tag.region": "eu"}, tags={"plan2": 1}).tags == {"plan2": 1, "region": "eu"}
    with pytest.raises(AttributionConflict):
        attribution(bind={"tag.region": "eu"}, tags={"region": "us"})


def test_tags_are_not_changed_by_who_merges_them() -> None:
    tags = parse_tags(b'{"tenant":"acme","region":"eu"}')
    attribution(bind={"tag.zone": "a"}, tags=tags)
    assert tags == {"tenant": "acme", "region": "eu"} == parse_tags(b'{"tenant":"acme","region":"eu"}')


@pytest.mark.parametrize(("name", "dimension"), [*NAMES.items(), *((name, name) for name in DIMENSIONS)])
def test_a_tag_that_names_a_dimension_becomes_it(name: str, dimension: str) -> None:
    found = attribution(tags={name: "value", "other": 1})
    assert getattr(found, dimension) == "value" and found.tags == {"other": 1}


def test_what_a_key_requires_may_come_from_anywhere() -> None:
    need = frozenset({"user", "feature"})
    with pytest.raises(AttributionMissing, match="feature and user"):
        attribution(require=need)
    with pytest.raises(AttributionMissing, match="feature"):
        attribution(require=need, headers={"user": "u"})
    assert attribution(require=need, bind={"user": "u"}, fields=fields(group="g")).feature == "g"


def test_what_the_provider_knows_stays_and_what_it_does_not_is_ours() -> None:
    body = fields(user_id="u", feature="f", user="x", metadata={}, customer=None, group=0)
    assert own_fields(body, frozenset({"user"})) == ["customer", "user_id", "feature", "group"]
    assert own_fields(body, frozenset({"feature"})) == ["customer", "user_id", "group"]
    assert own_fields(NO_FIELDS, frozenset()) == []


@pytest.mark.parametrize("value", [1.5, True, ["u"], {"id": "u"}, "x" * 257, "a\nb", "nul\0"])
def test_our_own_body_fields_must_be_ids(value: object) -> None:
    with pytest.raises(InvalidTags, match="user_id"):
        attribution(fields=fields(user_id=value))


def test_a_providers_field_that_cannot_be_an_id_is_left_out_and_named() -> None:
    found = attribution(fields=fields(user="x" * 257, metadata={"user_id": "a\nb"}, safety_identifier="ok"))
    assert (found.user, found.ignored) == ("ok", ("ignored_user", "ignored_metadata.user_id"))


GOOD_TAGS = [
    b"{}",
    b' {"a":"b"} ',
    b'{"a":1,"b":-1.5,"c":true,"d":"","e":0}',
    json.dumps({"k" * 64: "v" * 256}).encode(),
    json.dumps({f"k{number}": number for number in range(TAGS_MAX)}).encode(),
    '{"stadt":"Zürich 😀"}'.encode(),
    b'{"n":9223372036854775807,"m":-9223372036854775807}',
]
BAD_TAGS = [
    b"", b"null", b"[]", b'"a"', b"1", b"{", b"{'a':'b'}", b'{"a":null}', b'{"a":[1]}', b'{"a":{"b":1}}', b'{"a":"b"}x',
    b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"a":NaN}', b'{"a":1e999}', b'{"a":1e30}', b'{"a":"x\\u0000"}',
    b'{"a\\n":1}', b'{"":1}', b'{"a":"b\\u2028c"}', b'{"n":9223372036854775808}', b'{"n":%d}' % 10**40,
    json.dumps({"k" * 65: 1}).encode(), json.dumps({"k": "v" * 257}).encode(),
    json.dumps({f"k{number}": number for number in range(TAGS_MAX + 1)}).encode(), b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("raw", GOOD_TAGS, ids=range(len(GOOD_TAGS)))
def test_tags_are_a_json_object_of_plain_values(raw: bytes) -> None:
    assert parse_tags(raw) == json.loads(raw)


@pytest.mark.parametrize("raw", BAD_TAGS, ids=range(len(BAD_TAGS)))
def test_malformed_tags_say_what_is_wrong(raw: bytes) -> None:
    with pytest.raises(InvalidTags) as refused:
        parse_tags(raw)
    assert refused.value.code == "invalid_tags" and len(str(refused.value)) < 300


def test_units_are_counts_by_name() -> None:
    assert parse_units(b"analyses=1, pages = 3".replace(b" =", b"=")) == {"analyses": 1, "pages": 3}
    assert parse_units(b"analyses=1,analyses=2") == {"analyses": 3}


@pytest.mark.parametrize(
    "raw", [b"", b"a", b"a=", b"=1", b"a=-1", b"a=1.5", b"a=1;b=2", b"a b=1", b"a=\xb2", b"a=" + b"9" * 13]
)
def test_malformed_units_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidTags):
        parse_units(raw)


def test_headers_must_be_ids_and_agree() -> None:
    values: dict[str, str] = {}
    claim_header(values, "tenant", "Zürich".encode())
    claim_header(values, "tenant", "Zürich".encode())
    claim_header(values, "user", b"")
    assert values == {"tenant": "Zürich"}
    with pytest.raises(InvalidRequest):
        claim_header(values, "tenant", b"other")
    for wrong in (b"\xff", b"a\tb", b"x" * 257):
        with pytest.raises(InvalidTags):
            claim_header({}, "user", wrong)


TEXT = st.text(st.sampled_from(string.ascii_letters + " \n\0é😀"), max_size=300)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["user_id", "x"]), inner, max_size=2),
    max_leaves=4,
)
NAMED = st.sampled_from([*BodyFields.__struct_fields__, "model"])
BOUND = st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from(["acme", "u1"]), max_size=3)


@given(st.dictionaries(NAMED, VALUES, max_size=5), st.dictionaries(NAMED, VALUES, max_size=4), BOUND)
def test_whatever_is_sent_the_bound_stands_and_ids_stay_ids(
    body: dict[str, object], tags: dict[str, object], bind: dict[str, str]
) -> None:
    decoded = msgspec.json.decode(json.dumps(body), type=BodyFields)
    try:
        found = merge(bind, {}, parse_tags(json.dumps(tags).encode()), decoded)
    except (InvalidTags, AttributionConflict):
        return
    for dimension in DIMENSIONS:
        value = getattr(found, dimension)
        assert value is None or (0 < len(value) <= 256 and value.isprintable())
        if dimension in bind:
            assert value == bind[dimension]
    assert not set(found.tags or ()) & ({*NAMES, *DIMENSIONS})


@given(st.binary(max_size=200))
def test_any_bytes_are_tags_or_refused(raw: bytes) -> None:
    try:
        tags = parse_tags(raw)
    except InvalidTags:
        return
    assert all(isinstance(value, (str, int, float)) for value in tags.values())


PLANS = {"acme": "pro", "globex": "free"}
TIERS: list[tuple[dict[str, Any], bool, str | None]] = [
    ({"headers": {"tenant": "acme", "tier": "enterprise"}}, False, "pro"),
    ({"headers": {"tenant": "acme"}}, False, "pro"),
    ({"headers": {"tenant": "initech", "tier": "enterprise"}}, False, "enterprise"),
    ({"headers": {"tier": "enterprise"}}, False, "enterprise"),
    ({"headers": {"tenant": "acme", "tier": "enterprise"}}, True, "enterprise"),
    ({"headers": {"tenant": "acme"}}, True, "pro"),
    ({"bind": {"tenant": "acme", "tier": "vip"}}, False, "vip"),
    ({"bind": {"tenant": "acme"}, "tags": {"plan": "enterprise"}}, False, "pro"),
    ({"fields": fields(tenant_id="globex", plan="enterprise")}, False, "free"),
]


@pytest.mark.parametrize(("sources", "trusts_tier", "tier"), TIERS)
def test_a_known_customers_plan_is_its_tier_whatever_the_caller_says(
    sources: dict[str, Any], trusts_tier: bool, tier: str | None
) -> None:
    said = {"bind": {}, "headers": {}, "tags": None, "fields": NO_FIELDS, **sources}
    assert merge(**said, plans=PLANS, trusts_tier=trusts_tier).tier == tier


def test_a_plan_is_the_tier_that_a_key_requires() -> None:
    require = frozenset({"tier"})
    assert merge({}, {"tenant": "acme"}, None, NO_FIELDS, require, PLANS).tier == "pro"
    with pytest.raises(AttributionMissing):
        merge({}, {"tenant": "initech"}, None, NO_FIELDS, require, PLANS)
