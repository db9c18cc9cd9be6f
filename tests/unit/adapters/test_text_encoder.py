"""Adapters of the text encoder: made, attached, written, read by diffusers, keyed as ComfyUI reads them, trained and drawn with."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel

from loralab.adapters import AdapterStack, adapted_layers, adapter_sha256, adapts_text, load_adapter, make_adapter, save_adapter
from loralab.adapters.layers import all_layers
from loralab.bases import embed_prompts, embed_tokens, tokenise
from loralab.bases.unet_names import kohya_key
from loralab.errors import LabError
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.models import SampleSpec, TrainSpec
from loralab.spec.packing import pack_runs
from loralab.store import canonical_json
from loralab.train import TrainRun, train_stack
from loralab.train.streams import init_seed, sample_noise, sample_order
from tests.support.loops import finish
from tests.support.tensors import same_bits

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH = {"rank": 4, "alpha": 2.0, "text_encoder_lr": 1e-4}
PROMPTS = ["abc", "red cat", ""]


def test_the_unets_part_begins_as_without_the_text_encoder(tiny_base):
    plain, both = (make_adapter(tiny_base, TrainSpec(rank=2, text_encoder_lr=rate), 5) for rate in (0, 1e-4))
    assert (adapts_text(plain), adapts_text(both), adapts_text(None)) == (False, True, False)
    assert len(both.weights) - len(plain.weights) == 2 * 6  # two blocks of q, k, v, out, fc1, fc2
    assert all(torch.equal(both.weights[path][0], down) for path, (down, _) in plain.weights.items())


def test_sd15s_text_encoder_has_kohyas_number_of_modules(bare_base, tiny_base):
    config = CLIPTextConfig(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        unet, text = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8), CLIPTextModel(config)
    layers = adapted_layers(bare_base(unet, text_encoder=text), "transformer", text_encoder=True)
    inside = [sum(layer.weight.shape) for path, layer in layers.items() if path.startswith("text_encoder.")]
    assert (len(layers), len(inside)) == (264, 72)
    assert sum(inside) == 165_888  # parameters of rank 1


def test_each_group_embeds_as_its_merged_text_encoder(tiny_base, random_adapter):
    adapters = [random_adapter(1, **BOTH), None, random_adapter(2, rank=2, text_encoder_lr=1e-4)]
    tokens = tokenise(tiny_base, PROMPTS)
    alone = embed_prompts(tiny_base, PROMPTS)
    with torch.no_grad(), AdapterStack(tiny_base, adapters).attached([1.0, 1.0, 0.5]):
        ours = embed_tokens(tiny_base, tokens.repeat(3, 1)).unflatten(0, (3, -1))
    for k, (adapter, strength) in enumerate(zip(adapters, (1.0, 1.0, 0.5), strict=True)):
        merged = copy.deepcopy(tiny_base.text_encoder)
        for path, (down, up) in (adapter.weights if adapter else {}).items():
            if path.startswith("text_encoder."):
                change = strength * adapter.scale * (up.double() @ down.double())
                merged.get_submodule(path.removeprefix("text_encoder.")).weight.data += change.float()
        with torch.no_grad():
            expected = merged(tokens).last_hidden_state
        assert (ours[k] - expected).abs().max() < 1e-5
        assert ((expected - alone).abs().max() > 1e-2) == (adapter is not None)
    assert same_bits(embed_prompts(tiny_base, PROMPTS), alone)  # and the base is as before


@pytest.fixture
def saved(tmp_path, random_adapter):
    """A file with both parts, and its adapter."""
    adapter = random_adapter(1, **BOTH, targets="transformer+conv")
    save_adapter(tmp_path / "both.safetensors", adapter, metadata={})
    return tmp_path / "both.safetensors", adapter


def test_a_file_with_a_text_encoder_read_back_is_the_same_adapter(saved, tiny_base):
    path, adapter = saved
    assert adapter_sha256(load_adapter(path, tiny_base)) == adapter_sha256(adapter)
    with safe_open(path, "pt") as file:
        assert file.metadata()["ss_network_args"] == '{"conv_dim": "4", "conv_alpha": "2"}'


def test_diffusers_reads_unet_and_text_encoder_as_the_stack_computes_them(saved, tiny_base, tiny_base_folder, unet_inputs, predict):
    path, adapter = saved
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base_folder, local_files_only=True)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    inputs, tokens = unet_inputs(3), tokenise(tiny_base, PROMPTS)
    with torch.no_grad():
        text, noise = pipeline.text_encoder(tokens).last_hidden_state, pipeline.unet(*inputs, return_dict=False)[0]
        with AdapterStack(tiny_base, [adapter]).attached():
            our_text, our_noise = embed_tokens(tiny_base, tokens), predict(inputs)
    assert (our_text - text).abs().max() < 1e-5
    assert (our_noise - noise).abs().max() < 1e-5
    assert (our_text - embed_prompts(tiny_base, PROMPTS)).abs().max() > 1e-2
    assert (our_noise - predict(inputs)).abs().max() > 1e-2


# --- ComfyUI's rule, from reading comfy/lora.py (model_lora_keys_unet, model_lora_keys_clip) and comfy/utils.py (unet_to_diffusers) at
# 00728eb2: which names it knows, enumerated from the UNet's configuration; a name outside the list is skipped with a warning.

RESNET = ("conv1", "conv2", "time_emb_proj", "conv_shortcut")
BLOCK = [f"attn{a}.to_{x}" for a in (1, 2) for x in ("q", "k", "v", "out.0")] + ["ff.net.0.proj", "ff.net.2"]
CLIP = ["mlp.fc1", "mlp.fc2", *(f"self_attn.{x}_proj" for x in ("k", "q", "v", "out"))]


def comfyui_unet_names(unet: UNet2DConditionModel) -> Iterator[str]:
    """Yield the layers that ComfyUI's table of diffusers' names has for a UNet of this configuration."""
    config = unet.config
    n, downs, ups = config.layers_per_block, config.down_block_types, config.up_block_types
    for kind, types, count in (("down", downs, n), ("up", ups, n + 1)):
        for x, name in enumerate(types):
            for i in range(count):
                yield from (f"{kind}_blocks.{x}.resnets.{i}.{part}" for part in RESNET)
                if name.startswith("CrossAttn"):
                    yield from _transformer(f"{kind}_blocks.{x}.attentions.{i}")
            yield f"{kind}_blocks.{x}.{kind}samplers.0.conv"
    yield from _transformer("mid_block.attentions.0")
    yield from (f"mid_block.resnets.{i}.{part}" for i in (0, 1) for part in RESNET)


def _transformer(path: str) -> Iterator[str]:
    yield from (f"{path}.proj_in", f"{path}.proj_out", *(f"{path}.transformer_blocks.0.{part}" for part in BLOCK))


def comfyui_keys(unet: UNet2DConditionModel, n_text_layers: int) -> set[str]:
    text = {f"lora_te_text_model_encoder_layers_{i}_{part.replace('.', '_')}" for i in range(n_text_layers) for part in CLIP}
    return {"lora_unet_" + name.replace(".", "_") for name in comfyui_unet_names(unet)} | text


def test_comfyui_knows_every_key_that_is_written(saved, tiny_base):
    path, adapter = saved
    with safe_open(path, "pt") as file:
        written = {name.partition(".")[0] for name in file.keys()}  # noqa: SIM118
    assert len(written) == len(adapter.weights)
    assert written <= comfyui_keys(tiny_base.unet, 2)


def test_of_sd15_comfyuis_names_are_all_layers_in_blocks(bare_base):
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    known = comfyui_keys(unet, 0)
    ours = {kohya_key(path) for path in all_layers(bare_base(unet))}
    outside = {f"lora_unet_{name}" for name in ("conv_in", "conv_out", "time_embedding_linear_1", "time_embedding_linear_2")}
    assert ours - known == outside
    assert {kohya_key(path) for path in adapted_layers(bare_base(unet), "transformer+conv")} <= known


# --- training -------------------------------------------------------------------------------------------------------------------


def text_run(base, name: str, *, data: int = 1, replicate: int = 0, **recipe) -> TrainRun:
    spec = TrainSpec(**({"rank": 2, "steps": 5, "batch": 2, "lr": 1e-3, "text_encoder_lr": 3e-4} | recipe))
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(data))
    return TrainRun(name, spec, latents, None, replicate, tokens=tokenise(base, ["abc", "cat", "red"]))


def train(base, runs, root_seed=0):
    return finish(train_stack(base, runs, root_seed=root_seed))[0]


def moved(adapter, part: str) -> float:
    """Return the largest value of `up`, zero at the start, in a part of the model."""
    return max(float(up.abs().max()) for path, (_, up) in adapter.weights.items() if path.startswith(part))


@pytest.mark.parametrize("targets", ["transformer", "transformer+conv"])
def test_one_run_equals_a_plain_loop_with_two_parameter_groups(tiny_base, targets):
    run = text_run(tiny_base, "a", weight_decay=0.05, max_grad_norm=0.02, targets=targets)
    (trained,) = train(tiny_base, [run], root_seed=3)
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, run.spec, init_seed(3, 0))], trainable=True)
    groups: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for pair in stack.pairs:
        groups[pair.path.startswith("text_encoder.")] += [pair.down, pair.up]
    optimiser = torch.optim.AdamW([{"params": groups[False], "lr": 1e-3}, {"params": groups[True], "lr": 3e-4}], weight_decay=0.05)
    schedule = DDPMScheduler.from_config(tiny_base.scheduler_config)
    order, noises = sample_order(3, 0, 3, 2), sample_noise(3, 0, (2, 4, 8, 8), 1000)
    for _ in range(run.spec.steps):
        index, (noise, timesteps) = next(order), next(noises)
        with stack.attached():
            text = tiny_base.text_encoder(run.tokens[index]).last_hidden_state
            predicted = tiny_base.unet(schedule.add_noise(run.latents[index], noise, timesteps), timesteps, text).sample
        optimiser.zero_grad(set_to_none=False)
        torch.nn.functional.mse_loss(predicted, noise).backward()
        torch.nn.utils.clip_grad_norm_(stack.parameters(), 0.02)
        optimiser.step()
    (expected,) = stack.adapters()
    assert expected.weights.keys() == trained.adapter.weights.keys()
    for path, pair in expected.weights.items():
        for ours, theirs in zip(trained.adapter.weights[path], pair, strict=True):
            assert (ours - theirs).abs().max() < 1e-6
    # AdamW's steps are about as long as the rate: five of them
    assert 1e-4 < moved(trained.adapter, "text_encoder.") < 3e-3 < moved(trained.adapter, "unet.") < 1e-2


def test_packed_training_of_text_encoders_equals_separate_training(tiny_base):
    runs = [
        text_run(tiny_base, "a", steps=4), text_run(tiny_base, "b", data=2, steps=4, rank=4, text_encoder_lr=1e-3, replicate=1),
        text_run(tiny_base, "c", data=3, steps=4, rank=1, lr=3e-4, schedule="cosine"),
    ]  # fmt: skip
    before = {name: value.clone() for name, value in tiny_base.text_encoder.state_dict().items()}
    packed = train(tiny_base, runs)
    for run, together in zip(runs, packed, strict=True):
        (alone,) = train(tiny_base, [run])
        for path, pair in alone.adapter.weights.items():
            for ours, theirs in zip(together.adapter.weights[path], pair, strict=True):
                assert (ours - theirs).abs().max() < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in tiny_base.text_encoder.state_dict().items())


def test_runs_with_and_without_a_text_encoder_share_no_stack(tiny_base):
    specs = [TrainSpec(), TrainSpec(text_encoder_lr=1e-4), TrainSpec(), TrainSpec(text_encoder_lr=3e-4)]
    assert pack_runs([(str(i), spec) for i, spec in enumerate(specs)], 16) == [["0", "2"], ["1", "3"]]
    run = text_run(tiny_base, "a")
    with pytest.raises(LabError, match="tokens"):
        train(tiny_base, [TrainRun("a", run.spec, run.latents, torch.zeros(3, 12, 16), 0)])


def test_a_frozen_text_encoder_keeps_its_keys_in_the_store():
    told = ({}, {"text_encoder_lr": 0}, {"text_encoder_lr": 0.0})
    dumps = [canonical_json(TrainSpec.model_validate(recipe).model_dump(mode="json")) for recipe in told]
    assert len(set(dumps)) == 1
    assert '"text_encoder_lr":0,' in dumps[0]


# --- drawing --------------------------------------------------------------------------------------------------------------------


def test_a_group_draws_with_its_own_text_and_its_neighbours_with_theirs(tiny_base, tiny_base_folder, random_adapter):
    spec = SampleSpec(steps=2, guidance=3.0)
    adapters = {"both": random_adapter(1, **BOTH), "plain": random_adapter(2, rank=2)}
    blocks = [ImageBlock(run, "cat", strength, (0, 1)) for run, strength in ((None, 0.0), ("plain", 1.0), ("both", 1.0), ("both", 0.0))]
    embeddings = dict(zip(["cat", ""], embed_prompts(tiny_base, ["cat", ""]), strict=True))
    (batch,) = plan_batches(blocks, 8)
    base, plain, both, silent = sample_batch(tiny_base, batch, adapters, spec, embeddings)
    assert (silent == base).all()
    # against weights that are merged, drawn as a base of their own
    merged = copy.deepcopy(tiny_base)
    for path, (down, up) in adapters["both"].weights.items():
        part, _, inner = path.partition(".")
        weight = getattr(merged, part).get_submodule(inner).weight
        weight.data += (adapters["both"].scale * (up.flatten(1).double() @ down.flatten(1).double())).reshape(weight.shape).float()
    theirs = dict(zip(["cat", ""], embed_prompts(merged, ["cat", ""]), strict=True))
    (alone,) = plan_batches([ImageBlock(None, "cat", 0.0, (0, 1))], 8)
    expected = sample_batch(merged, alone, {}, spec, theirs)[0]
    assert abs(both.astype(int) - expected).max() <= 1
    assert abs(both.astype(int) - sample_batch(merged, alone, {}, spec, embeddings)[0]).max() > 1  # the text matters
    (without,) = plan_batches([ImageBlock("plain", "cat", 1.0, (0, 1))], 8)
    assert abs(plain.astype(int) - sample_batch(tiny_base, without, adapters, spec, embeddings)[0]).max() <= 1
