"""Whether a webhook is the forge's, and which one it is: tables of what is sent."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from k2alert.collect import SOURCES
from k2alert.collect.hooks import github_signed, gitlab_signed, read_body
from k2alert.times import EPOCH
from tests.support.fake_time import T0
from tests.support.hooks import sign_github, sign_standard

BODY = b'{"object_kind":"pipeline"}'
SIGNING = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
OTHER = "whsec_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
SENT = EPOCH + timedelta(seconds=1_700_000_000)
# The test vector of the standardwebhooks library.
SIGNED = {
    "webhook-id": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
    "webhook-timestamp": "1700000000",
    "webhook-signature": "v1,mS9Dwe/c1JtGM3bPD1oUtvPWo/sUDiT25X4dzOzhcA0=",
}


@pytest.mark.parametrize(
    ("headers", "secrets", "wanted"),
    [
        pytest.param({"x-gitlab-token": "one"}, ["one"], True, id="token"),
        pytest.param({"x-gitlab-token": "old"}, ["new", "old"], True, id="the old secret while it is changed"),
        pytest.param({"x-gitlab-token": "onE"}, ["one"], False, id="wrong token"),
        pytest.param({"x-gitlab-token": ""}, ["one"], False, id="empty token"),
        pytest.param({"x-gitlab-token": "one\udcff"}, ["one"], False, id="bytes that are no text"),
        pytest.param({}, ["one"], False, id="nothing"),
        pytest.param(SIGNED, [SIGNING], True, id="signature"),
        pytest.param(SIGNED, [OTHER, SIGNING], True, id="signature by the second secret"),
        pytest.param(SIGNED, [OTHER], False, id="signature by nobody we know"),
        pytest.param(
            SIGNED | {"webhook-signature": f"v1,AAAA v2,x {SIGNED['webhook-signature']}"},
            [SIGNING],
            True,
            id="one of many",
        ),
        pytest.param(SIGNED | {"webhook-signature": "v1,AAAA"}, [SIGNING], False, id="wrong signature"),
        pytest.param(SIGNED | {"webhook-id": "other"}, [SIGNING], False, id="another id than was signed"),
        pytest.param(SIGNED | {"webhook-timestamp": "1700000400"}, [SIGNING], False, id="another time than was signed"),
        pytest.param(SIGNED | {"webhook-timestamp": "soon"}, [SIGNING], False, id="no time"),
        pytest.param({"webhook-signature": "v1,x"}, [SIGNING], False, id="signature alone"),
        pytest.param(
            {"webhook-signature": "v1,AAAA", "webhook-timestamp": "1700000000", "x-gitlab-token": "one"},
            ["one"],
            False,
            id="a wrong signature is not made good by the token",
        ),
        pytest.param(SIGNED, ["whsec_not base64", SIGNING], True, id="a secret that is no key"),
    ],
)  # fmt: skip
def test_gitlab_is_believed_by_its_token_or_its_signature(
    headers: dict[str, str], secrets: list[str], wanted: bool
) -> None:
    assert gitlab_signed(headers, BODY, secrets, SENT) is wanted


@pytest.mark.parametrize(("late", "wanted"), [(0, True), (299, True), (301, False), (-299, True), (-301, False)])
def test_a_signature_is_good_for_five_minutes(late: int, wanted: bool) -> None:
    headers = {name.lower(): value for name, value in sign_standard(BODY, SIGNING, T0).items()}
    assert gitlab_signed(headers, BODY, [SIGNING], T0 + timedelta(seconds=late)) is wanted


def test_github_is_believed_by_its_signature_over_the_raw_body() -> None:
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"  # GitHub's own example
    assert github_signed({"x-hub-signature-256": signature}, body, [secret], T0)
    assert github_signed({"x-hub-signature-256": signature}, body, ["new", secret], T0)
    for headers, sent in [
        ({"x-hub-signature-256": signature}, body + b" "),
        ({"x-hub-signature": signature}, body),
        ({}, body),
    ]:
        assert not github_signed(headers, sent, [secret], T0)
    assert not github_signed({"x-hub-signature-256": signature.upper()}, body, [secret], T0)


@pytest.mark.parametrize(
    ("kind", "headers", "wanted"),
    [
        ("gitlab", {"idempotency-key": "i", "webhook-id": "w", "x-gitlab-webhook-uuid": "u"}, "i"),
        ("gitlab", {"webhook-id": "w", "x-gitlab-event-uuid": "e"}, "w"),
        ("gitlab", {"x-gitlab-webhook-uuid": "u", "x-gitlab-event-uuid": "e"}, None),
        ("github", {"x-github-delivery": "g"}, "g"),
        ("github", {}, None),
    ],
)
def test_a_webhook_that_is_sent_again_has_the_same_id(kind: str, headers: dict[str, str], wanted: str | None) -> None:
    hooks = SOURCES[kind].hooks
    assert hooks is not None
    delivery = hooks.delivery(headers, b"body")
    assert delivery == (wanted or hooks.delivery({}, b"body"))
    assert (hooks.delivery(headers, b"other") == delivery) is (wanted is not None)


def test_a_form_may_hold_the_json() -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert read_body(form, urlencode({"payload": json.dumps({"a": "ü&="})}).encode()) == {"a": "ü&="}
    assert read_body({"content-type": "application/json"}, b'{"a": 1}') == {"a": 1}
    assert sign_github(b"x", "s")["X-Hub-Signature-256"].startswith("sha256=")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"payload=%7B"], ids=["empty", "cut", "no text", "deep", "form"]
)
def test_what_is_no_json_is_refused_in_one_way(body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        with pytest.raises(ValueError, match=r"."):
            read_body({"content-type": kind}, body)
