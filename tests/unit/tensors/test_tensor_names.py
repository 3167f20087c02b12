import pytest

from optimer.tensors.names import (
    canonical,
    excluded,
    hub_name,
    is_multimodal,
    language_tensors,
    layer_of,
)

LAYOUTS = [
    # (canonical, Hub, saved by transformers 5, live module)
    (
        "model.layers.0.mlp.up_proj.weight",
        "language_model.model.layers.0.mlp.up_proj.weight",
        "language_model.model.layers.0.mlp.up_proj.weight",
        "model.language_model.layers.0.mlp.up_proj.weight",
    ),
    (
        "lm_head.weight",
        "language_model.lm_head.weight",
        "language_model.lm_head.weight",
        "lm_head.weight",
    ),
    (
        "vision_tower.vision_model.post_layernorm.bias",
        "vision_tower.vision_model.post_layernorm.bias",
        "vision_tower.post_layernorm.bias",
        "model.vision_tower.post_layernorm.bias",
    ),
    (
        "multi_modal_projector.mm_soft_emb_norm.weight",
        "multi_modal_projector.mm_soft_emb_norm.weight",
        "multi_modal_projector.mm_soft_emb_norm.weight",
        "model.multi_modal_projector.mm_soft_emb_norm.weight",
    ),
]


@pytest.mark.parametrize(("name", "hub", "saved", "live"), LAYOUTS)
def test_three_layouts_have_one_name(name, hub, saved, live):
    assert [canonical(layout) for layout in (hub, saved, live, name)] == [name] * 4
    assert hub_name(name, multimodal=True) == hub


def test_text_models_keep_their_names():
    name = "model.layers.11.self_attn.q_proj.weight"
    assert canonical(name) == hub_name(name, multimodal=False) == name


def test_language_tensors_leave_other_towers_out():
    names = [layout[0] for layout in LAYOUTS]
    assert language_tensors(names) == names[:2]
    assert is_multimodal(names)
    assert not is_multimodal(names[:2])


def test_layer_is_that_of_the_language_model():
    assert layer_of("model.layers.11.mlp.up_proj.weight") == 11
    assert layer_of("model.norm.weight") is None
    assert layer_of("vision_tower.vision_model.encoder.layers.3.mlp.fc1.bias") is None


def test_exclusion_is_a_substring_test():
    exclude = ("embed_tokens", "lm_head", "rotary")
    assert excluded("model.embed_tokens.weight", exclude)
    assert excluded("model.rotary_emb.inv_freq", exclude)
    assert not excluded("model.layers.0.mlp.up_proj.weight", exclude)
