"""Merged models θ(w) = θ_0 + merge(w, τ): in memory, on disk, and as mergekit recipes."""
