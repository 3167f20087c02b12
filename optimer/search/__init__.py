"""Search of merge weights: Optuna studies over a pool, scored in one live process."""
