"""Secrets of a spec: which they are, that they are covered, and that nothing else is."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.redaction import COVER, covered, secrets_in, without_secrets

CANARY = "c4n4ry/tweet"


@pytest.mark.parametrize(
    "raw",
    [
        {"httpAuthenticationPassword": CANARY},
        {"httpAuthenticationPassword": {"type": "default", "password": CANARY}},
        {"requestHeaders": {"Authorization": CANARY, "X-Any": CANARY}},
        {"properties": {"accessKeyId": {"type": "default", "password": CANARY}, "secretAccessKey": CANARY}},
        {"sessionToken": CANARY},
        {"sharedAccessStorageToken": CANARY},
        {"context": {"myApiKey": CANARY, "db_password": CANARY, "deep": [{"clientSecret": CANARY}]}},
        {"context": {"secrets": [CANARY, {"a": CANARY}]}},
        {"consumerProperties": {"sasl.jaas.config": CANARY, "ssl.keystore.password": CANARY}},
        {"uris": [f"https://me:{CANARY.replace('/', '%2F')}@example.org/a.json"]},
        {"uris": [f"https://{CANARY.replace('/', '%2F')}@example.org/a.json"]},
        {"uris": [f"https://example.org/a?X-Amz-Signature={CANARY}&part=1"]},
        {"uris": [f"https://example.org/a?part=1&sig={CANARY}#end"]},
        {"uris": [f"https://example.org/a?access_token={CANARY}"]},
        {"uris": [f"https://example.org/a?code={CANARY} and=more&part=1"]},
        {"uris": [f"https://example.org/a?part=1;pwd={CANARY}#sid={CANARY}"]},
        {"uris": [f"https://me:{CANARY}@example.org/a"]},
        {"uris": [f"https://me:first@{CANARY.replace('/', '%2F')}@example.org:80/a?b=@"]},
        {"uris": [f"https://me:a b?{CANARY}@example.org/a?sig={CANARY}"]},
        {"connectURI": f"jdbc:postgresql://me:{CANARY}@example.org/db?password={CANARY}"},
        {"uris": [f"https://example.org/a,https://me:{CANARY.replace('/', '%2F')}@example.org/b"]},
        {"uris": [f"https://example.org/a?%74oken={CANARY}"]},
        {"uris": [f"https://example.org/a?part=1&pass%77ord={CANARY}"]},
        {"uris": [f"https://example.org/a?%2574oken={CANARY}"]},
        {f"https://me:{CANARY.replace('/', '%2F')}@example.org/a": "as the key of a map"},
        {"note": f'org.apache.PlainLoginModule required username="a" password="{CANARY}";'},
        {"note": f'{{"password":"{CANARY}"}}'},
        {"note": f'{{"secrets":["{CANARY}"]}}'},
        {"note": f'EXTERN(\'{{"password":"{CANARY}"}}\')'},
        {"note": f'a text of {{\\"password\\": \\"{CANARY}\\"}}'},
        {"note": f"user=a password={CANARY}"},
        {"note": f"Server=a;Pwd={CANARY};AccountKey={CANARY}"},
        {"note": f"Authorization: Bearer {CANARY}"},
        {"note": f"Authorization: Basic {CANARY}"},
        {"note": f"Bearer {CANARY}"},
        {"note": f"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n{CANARY}\n-----END RSA PRIVATE KEY-----"},
        {"note": f"see https://me:{CANARY.replace('/', '%2F')}@example.org/a"},
        {"note": f"see https://example.org/a?token={CANARY}, or not"},
        *(
            {"context": {name: CANARY}}
            for name in (
                *("pass", "pwd", "auth", "authorization", "cookie", "bearer", "sas", "sig", "signature", "jwt"),
                *("connectionString", "dbPass", "db.pwd", "Set-Cookie", "accountKey"),
            )
        ),
        *({"uris": [f"https://example.org/a?{name}={CANARY}"]} for name in ("pass", "cookie", "sas", "jwt", "auth")),
    ],
)
def test_a_secret_is_covered_wherever_a_spec_may_have_it(raw: dict[str, Any]) -> None:
    shown = orjson.dumps(without_secrets(raw)).decode()
    assert CANARY not in shown
    assert CANARY.replace("/", "%2F") not in shown
    assert COVER in shown
    assert any(CANARY in secret for secret in secrets_in(raw))


def test_what_helps_to_find_a_secret_stays() -> None:
    provider = {"httpAuthenticationPassword": {"type": "environment", "variable": "DB_PASSWORD"}}
    assert without_secrets(provider) == provider
    shown = without_secrets({"uris": ["https://me:pass@example.org:8443/a?part=7&sig=xxxx"]})
    assert shown == {"uris": [f"https://me:{COVER}@example.org:8443/a?part=7&sig={COVER}"]}


@pytest.mark.parametrize(
    "raw",
    [
        {"timestampSpec": {"column": "token", "format": "iso"}, "dimensions": ["password", {"name": "secret"}]},
        {"maxTokens": 7, "tokenized": True, "key": None},
        {"uris": ["https://example.org/key/a?part=1", "s3://bucket/token=1/a", "http://[::1]:80/@a?countryCode=fr"]},
        {"uris": ["https://example.org:8443/packages/@scope/a@1.2?encode=no"]},
        {"dimensions": ["pass", "auth", {"name": "cookie", "type": "string"}], "metric": {"fieldName": "sig"}},
        {"columnTypes": {"pass": "string", "auth": "long"}, "auth": "basic", "pass": 7, "signature": ["a", "b"]},
        {"type": "regex", "pattern": "token=(.*) password=([a-z]+)", "expression": "concat(token, 'password=x')"},
        {
            "baseDir": "/data/token=1/password=2",
            "filter": "*.json",
            "note": "Basic authentication is no bearer of news",
        },
        {"note": "password=${env:DB_PASSWORD} a == b, token == 'x' design=fine"},
        {"inputSource": {"type": "inline", "data": '{"password": "of a row", "token": "too"}'}},
        {"inputSource": {"type": "inline", "data": "see https://me:word@example.org?sig=1"}},
    ],
)
def test_what_is_no_secret_is_returned_as_it_is(raw: dict[str, Any]) -> None:
    assert without_secrets(raw) is raw
    assert secrets_in(raw) == frozenset()


def test_a_password_is_looked_for_as_a_client_may_write_it() -> None:
    secrets = secrets_in("http://bob:a@b c@example.org/x")
    text = "404 at http://bob:a%40b%20c@example.org/x, that is http://bob:a@b c@example.org/x"
    assert (
        covered(text, secrets) == f"404 at http://bob:{COVER}@example.org/x, that is http://bob:{COVER}@example.org/x"
    )


def test_texts_are_covered_as_they_are_and_as_json_has_them() -> None:
    secrets = frozenset({'quo"te', "word", "wordy"})
    assert covered('a quo"te, a wordy word', secrets) == f"a {COVER}, a {COVER} {COVER}"
    assert covered(orjson.dumps({"a": 'quo"te'}).decode(), secrets) == f'{{"a":"{COVER}"}}'
    assert covered("a cat", frozenset({"a"})) == "a cat", "too short to be looked for"


def test_a_password_of_digits_is_covered_as_a_number_too() -> None:
    raw = {"password": 73409173, "auth": {"password": {"type": "default", "password": 4711.5}}, "maxTokens": 7}
    assert without_secrets(raw) == {
        "password": COVER,
        "auth": {"password": {"type": "default", "password": COVER}},
        "maxTokens": 7,
    }
    assert secrets_in(raw) == {"73409173", "4711.5"}


def test_an_address_after_a_blank_is_one() -> None:
    assert without_secrets({"uris": [" http://u:hunter2@h/x"]}) == {"uris": [f" http://u:{COVER}@h/x"]}


@pytest.mark.parametrize("literal", ["true", "false", "null"])
def test_a_password_that_is_a_word_of_json_leaves_reports_readable(literal: str) -> None:
    report = f'{{"ok":{literal}}}'
    assert covered(report, secrets_in({"password": literal})) == report


def test_what_lies_too_deep_is_covered_whole() -> None:
    deep: Any = CANARY
    for _ in range(5000):
        deep = [deep]
    assert CANARY not in str(without_secrets({"a": deep}))


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_covering_twice_is_covering_once(raw: Any) -> None:
    shown = without_secrets({"password": "hunter2", "rest": raw})
    assert without_secrets(shown) == shown


def test_addresses_that_look_alike_when_covered_both_stay_as_keys() -> None:
    shown = without_secrets({"http://a:one1@h/": 1, "http://a:two2@h/": 2})
    assert shown == {f"http://a:{COVER}@h/": 1, f"http://a:{COVER}@h/*": 2}


def test_a_refusal_is_a_text_that_may_quote_an_address() -> None:
    assert without_secrets("Unknown type [http://u:hunter2@h/] of it") == f"Unknown type [http://u:{COVER}@h/] of it"


@pytest.mark.parametrize(
    "piece", ["a ", "://", "token=", "http://a@", "basic ", "?a&", "-----BEGIN PRIVATE KEY-----", 'x="', 'token\\"=']
)
def test_a_long_text_is_looked_through_in_one_go(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    began = time.process_time()
    without_secrets({"note": text})
    assert time.process_time() - began < 5, "a second pass for each place would take minutes"
