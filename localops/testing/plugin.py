"""The pytest plugin: the fixture `localops_run`.

pytest loads this file at every start where localops is installed, so it imports nothing else of localops.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.testing.run import Run


@pytest.fixture
def localops_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Record what the test does into a journal of its own, and assert on it.

    No setting of this machine applies, nothing is sent anywhere, and afterwards the state of localops is restored.
    """
    from localops.testing.isolation import isolated
    from localops.testing.run import Run

    home = str(tmp_path_factory.mktemp("localops"))
    with isolated(home):
        yield Run(home)
