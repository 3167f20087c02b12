"""Do two model folders agree on which token an id is?

Ids are compared, not files: chat templates, merges order in the file and default special tokens
may differ between a base model and its instruction-tuned sibling without any harm.
"""

from __future__ import annotations

from pathlib import Path

from optimer.errors import ArtifactError

_SLOW_FILES = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")


def read_vocabulary(folder: Path) -> dict[str, int]:
    """{token: id} of a folder's tokenizer, added tokens included.

    Raises ArtifactError when the folder has no tokenizer.
    """
    fast = folder / "tokenizer.json"
    if fast.exists():
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_file(str(fast)).get_vocab(with_added_tokens=True)
        except Exception as error:  # the library raises bare Exception
            raise ArtifactError(f"{fast}: not a tokenizer file ({error}). Save it again.") from None
    # Without these files transformers would invent an empty tokenizer instead of failing.
    if not any((folder / name).exists() for name in _SLOW_FILES):
        raise ArtifactError(
            f"{folder}: no tokenizer in this folder, so its vocabulary cannot be compared with "
            "the base model's. Save the tokenizer it was trained with beside its weights."
        )
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(str(folder), local_files_only=True).get_vocab())


def check_same_vocabulary(base: Path, checkpoint: Path) -> int:
    """Raise ArtifactError when an id means different tokens in the two folders.

    One side may know tokens that the other lacks (an instruction-tuned model that names reserved
    rows). Returns how many tokens only one side knows.
    """
    ours, theirs = read_vocabulary(base), read_vocabulary(checkpoint)
    common = ours.keys() & theirs.keys()
    moved = sorted((ours[token], token) for token in common if ours[token] != theirs[token])
    by_id, other = {i: t for t, i in ours.items()}, {i: t for t, i in theirs.items()}
    clashes = [i for i in sorted(by_id.keys() & other.keys()) if by_id[i] != other[i]]
    if moved or clashes:
        first = clashes[0] if clashes else moved[0][0]
        raise ArtifactError(
            f"{checkpoint}: vocabulary differs from the base model's ({base}): "
            f"{max(len(moved), len(clashes))} ids stand for other tokens, first id {first}: "
            f"{by_id.get(first)!r} in the base, {other.get(first)!r} here. "
            "A distribution vector needs a checkpoint trained from this base with its tokenizer."
        )
    only_ours, only_theirs = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    if only_ours and only_theirs:
        raise ArtifactError(
            f"{checkpoint}: vocabulary differs from the base model's ({base}): {len(only_ours)} "
            f"tokens only in the base, {len(only_theirs)} only here. "
            "A distribution vector needs a checkpoint trained from this base with its tokenizer."
        )
    return len(only_ours) + len(only_theirs)
