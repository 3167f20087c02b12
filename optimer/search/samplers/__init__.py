"""Samplers of merge weights by name; every draw is a function of the stored trials and a counter."""
