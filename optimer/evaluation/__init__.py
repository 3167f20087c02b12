"""Scoring with lm-eval: tasks, splits, engines, intervals."""
