"""Search of merge weights: Optuna studies over a pool, scored in one live process.

`optimer.search` is this package and also the noun: calling it runs `optimer.search.api.search`,
so `from optimer import search` gives something that searches whatever was imported before.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Search(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from optimer.search.api import search

        return search(*args, **options)


sys.modules[__name__].__class__ = _Search
