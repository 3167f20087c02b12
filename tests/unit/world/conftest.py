"""The small generated world, made once."""

from __future__ import annotations

import pytest
from small_world import Made, small

from optimer.world import generate


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("world")
    params = small()
    return Made(root, params, generate(root, params))
