"""Corpus phase: sources, sampling, decontamination, packing, mixtures."""
