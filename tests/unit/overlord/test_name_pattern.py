"""Names of permissions: whole names, as Java matches them, and never at anybody's mercy."""

import pytest

from druid_core.errors import InvalidInput
from overlord.name_pattern import NamePattern


def fits(expression: str, name: str) -> bool:
    return NamePattern(expression, "Permission on DATASOURCE").fits(name)


@pytest.mark.parametrize(
    ("expression", "name", "expected"),
    [
        ("web.*", "web_2", True),
        ("web.*", "my web", False),
        ("web.*|shop", "shops", False),
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "aXb", False),
        ("(?i)web", "WEB", True),
        (r"\p{L}+", "größe", True),
        ("web.*", "webx\nsecret", False),
        ("(?s)web.*", "webx\nsecret", True),
        (".*", "half \ud800", False),
        ("", "web", False),
    ],
)
def test_the_whole_name_must_fit_as_in_java(expression: str, name: str, expected: bool) -> None:
    assert fits(expression, name) is expected


@pytest.mark.timeout(20)  # what backtracks would be at it for longer than the earth stands
@pytest.mark.parametrize("expression", ["(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*a){12}b"])
def test_no_name_keeps_an_expression_busy(expression: str) -> None:
    assert not fits(expression, "a" * 5000 + "!")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("[", "is no regular expression"),
        ("(?!secret).*", "looking ahead or behind"),
        (r"(a)\1", "back references"),
        ("a++", "possessive"),
        ("((a{1000}){1000}){1000}", "is no regular expression"),
        ("(" * 50_000, "is no regular expression"),
        ("\ud800", "is no regular expression"),
    ],
)
def test_what_is_not_taken_is_refused_in_words(expression: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        NamePattern(expression, "Permission on DATASOURCE")
    assert len(str(refused.value)) < 700
