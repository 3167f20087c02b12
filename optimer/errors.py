"""Errors a user can meet. Each text says the rule, what was found, and the way out."""

from __future__ import annotations


class OptimerError(Exception):
    """Base of every error the command line prints without a traceback (exit code 2)."""


class ParamsError(OptimerError):
    """params.yaml, an overlay or an override breaks a rule."""


class ArtifactError(OptimerError):
    """A file on disk is missing, incomplete, corrupt, or does not fit its neighbours."""


class CorpusError(OptimerError):
    """A corpus source cannot give what params ask of it."""


class TrainingError(OptimerError):
    """Training cannot start, continue, or gave something unusable."""


class MergeError(OptimerError):
    """Vectors, weights and merge method do not go together."""


class EvaluationError(OptimerError):
    """A task cannot be scored as declared."""


class SearchError(OptimerError):
    """A study cannot start or resume as declared."""
