"""Continual pre-training through DeepSpeed: one mixture and one parent model give one model.

`train` (run.py) is the entry point; nothing heavy is imported before it is called.
"""

from __future__ import annotations

from optimer.training.run import train
from optimer.training.settings import settings

__all__ = ["settings", "train"]
