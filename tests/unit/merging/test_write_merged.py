import gc
import weakref

import factories
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from optimer.errors import ArtifactError
from optimer.merging.checksum import checksum
from optimer.merging.compose import compose_into
from optimer.merging.pool import Pool
from optimer.merging.write import write_merged
from optimer.tensors.stream import StreamWriter

WEIGHTS = {"it": 0.8, "cpt_ja": 0.3, "cpt_math": -0.2}


@pytest.mark.parametrize("name", factories.FAMILIES)
def test_written_model_is_the_scored_model(family, tmp_path, name):
    folders = family(name, "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    live = AutoModelForCausalLM.from_pretrained(folders.base, dtype=torch.bfloat16)
    compose_into(pool, WEIGHTS, dict(live.named_parameters()))
    receipt = write_merged(pool, WEIGHTS, tmp_path / "m", folders.models["it"])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype="auto")
    assert type(loaded) is type(live)
    assert loaded.dtype == torch.bfloat16
    for key, tensor in live.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[key])
    assert receipt["checksum"] == checksum(dict(live.named_parameters()))
    ids = torch.tensor([[1, 7, 8, 9]])
    assert torch.equal(live(ids).logits, loaded(ids).logits)


def test_it_model_gives_chat_template_and_generation_config(family, tmp_path):
    folders = family("qwen3_tied")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    write_merged(pool, WEIGHTS, tmp_path / "m", folders.models["it"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    assert tokenizer.chat_template == factories.CHAT_TEMPLATE
    assert GenerationConfig.from_pretrained(tmp_path / "m").eos_token_id == [2, 4]


def test_shards_hold_the_same_model(family, tmp_path):
    folders = family("llama", "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    one = write_merged(pool, WEIGHTS, tmp_path / "one", folders.models["it"])
    many = write_merged(
        pool, WEIGHTS, tmp_path / "many", folders.models["it"], max_shard_bytes=10_000
    )
    assert len(many["sha256"]) > 3
    assert one["checksum"] == many["checksum"]
    a, b = (
        AutoModelForCausalLM.from_pretrained(tmp_path / n, dtype="auto") for n in ("one", "many")
    )
    assert all(torch.equal(t, b.state_dict()[n]) for n, t in a.state_dict().items())


def test_multimodal_model_is_written_in_the_hub_s_layout(family, tmp_path):
    folders = family("gemma3_multimodal")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    write_merged(pool, WEIGHTS, tmp_path / "m", folders.models["it"])
    names = load_file(tmp_path / "m" / "model.safetensors")
    assert "vision_tower.vision_model.post_layernorm.bias" in names
    assert "language_model.model.layers.0.mlp.up_proj.weight" in names


def test_card_tells_what_it_is_made_of(family, tmp_path):
    folders = family("qwen3_tied")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    card = {"title": "A toy", "base_model": ["toy/base", "toy/it"], "facts": {"Scale": "tiny"}}
    receipt = write_merged(pool, WEIGHTS, tmp_path / "m", folders.models["it"], card)
    text = (tmp_path / "m" / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == ["toy/base", "toy/it"]
    assert head["library_name"] == "transformers"
    for line in ("# A toy", "| cpt_math | -0.2 |", "| Density | 0.6 |", "| Scale | tiny |"):
        assert line in text
    assert receipt["checksum"] in text
    assert "mergekit draws others" in text
    document = yaml.safe_load((tmp_path / "m" / "recipe.yaml").read_text())
    assert [m["parameters"]["weight"][-1]["value"] for m in document["models"]] == [0.8, 0.3, -0.2]


def test_no_shard_is_held_in_memory(family, tmp_path, monkeypatch):
    folders = family("llama", "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    alive, most = weakref.WeakSet(), []
    original = StreamWriter.add

    def watched(self, name, tensor):
        gc.collect()
        alive.add(tensor)
        most.append(len(alive))
        original(self, name, tensor)

    monkeypatch.setattr(StreamWriter, "add", watched)
    write_merged(pool, WEIGHTS, tmp_path / "m", folders.models["it"])
    assert len(most) == 21
    assert max(most) <= 8  # two wait, one is written, two a thread


def test_failure_leaves_nothing(family, tmp_path):
    folders = family("qwen3_tied")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    with pytest.raises(ArtifactError, match="no tokenizer in this folder; name the IT model"):
        write_merged(pool, WEIGHTS, tmp_path / "m", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
