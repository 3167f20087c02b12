"""A seeded order over all documents of a dataset, in bounded memory.

Shard order is shuffled, several shards are read in turn, and documents pass through a shuffle
buffer; so the first tokens are a sample of many shards and not "the first shard". The order does
not depend on any budget: taking more tokens extends what a smaller budget took (nested samples),
and no document comes twice.

Why not a library. `datatrove` reads, tokenises, decontaminates and runs on Slurm, but its budget
and shuffle are per task: documents are tokenised first and shuffled afterwards on disk
(`DocumentTokenizer`, `DocumentTokenizerMerger`), so all hundreds of gigabytes are tokenised to
take 3B tokens, a larger run reorders the smaller one, and unreadable lines are only logged.
`datasets.IterableDataset.shuffle` does the same three steps as here (shard order, interleaved
shards, buffer), but its buffer counts documents and not their size (books break the memory
bound), its JSON reader stops at a bad line, and nothing promises its order between releases.
`datasets` is used for what it alone does: streaming from the Hub (`hub.py`).
https://github.com/huggingface/datatrove/tree/main/src/datatrove/pipeline/tokens
https://huggingface.co/docs/datasets/stream#shuffle
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator, Sequence

from optimer.corpus.shards import Shard, Tally

OPEN_SHARDS = 32
BUFFER_DOCUMENTS = 20_000
BUFFER_CHARACTERS = 64_000_000  # up to 256 MB: a character takes 1 to 4 bytes in memory


def interleave(
    shards: Sequence[Shard], tally: Tally, seed: int, n_open: int = OPEN_SHARDS
) -> Iterator[str]:
    """All texts: shards in seeded order, `n_open` of them open, one text from each in turn."""
    draw = random.Random(seed)
    waiting = list(shards)
    # `random()` is the one method whose sequence Python promises to keep.
    waiting.sort(key=lambda _: draw.random())
    waiting.reverse()  # pop() takes them in order
    reading: list[Iterator[str]] = []
    turn = 0
    try:
        while waiting or reading:
            while waiting and len(reading) < n_open:
                reading.append(waiting.pop().open(tally))
            turn %= len(reading)
            text = next(reading[turn], None)
            if text is None:
                if waiting:
                    reading[turn] = waiting.pop().open(tally)
                else:
                    del reading[turn]
                continue
            turn += 1
            yield text
    finally:
        for iterator in reading:
            getattr(iterator, "close", lambda: None)()


def shuffle(
    texts: Iterable[str],
    seed: int,
    n_documents: int = BUFFER_DOCUMENTS,
    n_characters: int = BUFFER_CHARACTERS,
) -> Generator[str, None, None]:
    """Texts through a shuffle buffer bounded in documents and in characters."""
    draw = random.Random(seed)
    buffer: list[str] = []
    size = 0

    def pop() -> str:
        index = int(draw.random() * len(buffer))
        buffer[index], buffer[-1] = buffer[-1], buffer[index]
        return buffer.pop()

    for text in texts:
        buffer.append(text)
        size += len(text)
        while len(buffer) > n_documents or (size > n_characters and len(buffer) > 1):
            chosen = pop()
            size -= len(chosen)
            yield chosen
    while buffer:
        yield pop()
