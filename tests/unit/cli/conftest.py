from collections.abc import Generator

import pytest

from tests.support.scripted_overlord import ScriptedOverlord, serving


@pytest.fixture
def scripted_overlord() -> Generator[ScriptedOverlord]:
    with serving() as overlord:
        yield overlord
