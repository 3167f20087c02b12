"""Reader `hub`: a dataset of the Hugging Face Hub, streamed, one shard per data file.

`datasets` does the listing, fetching and decoding; the files of the split become our shards, so
that local and streamed sources are shuffled by the same code. The location is
`repository:configuration:split`; the configuration may be empty. A local folder works in place
of a repository. https://huggingface.co/docs/datasets/stream
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optimer.corpus.shards import Shard, Tally, text_of
from optimer.errors import CorpusError


def split_location(location: str) -> tuple[str, str | None, str]:
    """(repository, configuration or None, split). Raises CorpusError."""
    parts = location.split(":")
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise CorpusError(
            f"data/sources.tsv: a hub location is `repository:configuration:split` (the "
            f"configuration may be empty), found {location!r}."
        )
    return parts[0], parts[1] or None, parts[2]


def resolve_revision(location: str, revision: str | None) -> str | None:
    """Commit that will be read: the given one, else the newest; None for a local folder."""
    repository, _, _ = split_location(location)
    if revision or Path(repository).is_dir():
        return revision
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(repository).sha
    except Exception as error:
        raise _unreachable(location, revision, error) from error


def hub_shards(location: str, revision: str | None) -> list[Shard]:
    """One shard per data file of the split. Raises CorpusError when it cannot be listed."""
    from datasets import load_dataset

    repository, configuration, split = split_location(location)
    try:
        stream = load_dataset(
            repository, configuration, split=split, revision=revision, streaming=True
        )
        n_shards = stream.num_shards
    except Exception as error:  # the Hub client raises many kinds
        raise _unreachable(location, revision, error) from error

    def shard(index: int) -> Shard:
        name = f"{location}#{index}"
        return Shard(name, lambda tally: _texts(stream, n_shards, index, name, tally))

    return [shard(index) for index in range(n_shards)]


def _texts(stream: Any, n_shards: int, index: int, name: str, tally: Tally) -> Iterator[str]:
    rows = iter(stream.shard(num_shards=n_shards, index=index))
    number = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise CorpusError(
                f"{name}: streaming stopped after row {number} ({error}). Run the same command "
                "again; if it happens again, pin another revision in data/sources.tsv."
            ) from error
        number += 1
        tally.n_lines += 1
        try:
            text = text_of(row)
        except ValueError as error:
            tally.bad(name, number, str(error))
            continue
        yield text


def _unreachable(location: str, revision: str | None, error: Exception) -> CorpusError:
    return CorpusError(
        f"data/sources.tsv: {location!r} at revision {revision or 'newest'} cannot be opened "
        f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). Check "
        "repository, configuration and split, log in where it is gated, or go online."
    )
