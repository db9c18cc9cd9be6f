"""Every family of bases keeps the same promises, over small random pipelines; each promise has a twin that breaks it and must be caught."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from loralab.adapters import Adapter, AdapterStack, make_adapter
from loralab.adapters.layers import is_norm, norm_layers
from loralab.bases import FAMILIES, Base, load_base
from loralab.bases.header import Header, read_header
from loralab.bases.parts import is_text
from loralab.spec import LoadSpec, TrainSpec
from loralab.spec.prompts import parse_prompt

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT, OTHER, LONG = "a red cat", "blue dog", ", ".join(["a red circle"] * 40)
LEVELS = (0, 250, 999)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """(folder, single file) of a small random pipeline of each family."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "bases"))
    from ldm import save_pair

    place = tmp_path_factory.mktemp("families")
    return {name: save_pair(place, name) for name in FAMILIES}


@pytest.fixture(scope="module")
def bases(small: dict[str, tuple[Path, Path]]) -> dict[str, Base]:
    return {name: load_base(str(folder), LoadSpec(size_px=64)) for name, (folder, _) in small.items()}


def embed(family: Any, base: Base, prompt: str) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = family.embed(base, parse_prompt(prompt), clip_skip=1)
    return found


def noise(base: Base, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *base.latent_shape, generator=torch.Generator().manual_seed(seed))


def close(one: torch.Tensor, two: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return one.shape == two.shape and float((one - two).abs().max()) <= tolerance


# --- what each must keep ----------------------------------------------------------------------------------------------------------


def check_embedding(family: Any, base: Base) -> None:
    short, long = (embed(family, base, prompt) for prompt in (SHORT, LONG))
    assert tuple(short.shape) == family.text_shape(base)
    assert short.dtype == torch.float32
    assert torch.isfinite(short).all()
    assert len(long) > len(short)  # nothing is cut off
    assert torch.equal(short, embed(family, base, SHORT))
    assert not close(short, embed(family, base, OTHER), 1e-3)
    assert not close(short, embed(family, base, "a (red:1.5) cat"), 1e-4)
    assert family.too_long(base, parse_prompt(LONG)) is None
    assert family.too_long(base, parse_prompt(LONG * 9)) is not None
    tokens = family.tokenise(base, [SHORT, OTHER])
    assert tuple(tokens.shape) == (2, family.token_width(base))
    with torch.no_grad():
        for row, prompt in zip(family.embed_tokens(base, tokens), (SHORT, OTHER), strict=True):
            assert close(row, embed(family, base, prompt))  # what is trained is what is drawn


def check_join(family: Any, base: Base) -> None:
    texts = [embed(family, base, prompt)[None] for prompt in (SHORT, LONG)]
    joined = family.join(texts)
    assert len({text.shape for text in joined}) == 1
    assert all(torch.equal(text, same) for text, same in zip(texts[:1], family.join(texts[:1]), strict=True))
    latents, level = noise(base, 1), torch.tensor([400])
    with torch.no_grad():
        for text, other in zip(texts, joined, strict=True):
            assert close(family.predict(base, latents, level, text), family.predict(base, latents, level, other))


def check_prediction(family: Any, base: Base) -> None:
    latents, levels = noise(base, 2), torch.tensor([20, 700])
    text = torch.stack([embed(family, base, prompt) for prompt in (SHORT, OTHER)])
    with torch.no_grad():
        both = family.predict(base, latents, levels, text)
        assert both.shape == latents.shape
        assert both.dtype == torch.float32
        for i in range(2):
            assert close(both[i : i + 1], family.predict(base, latents[i : i + 1], levels[i : i + 1], text[i : i + 1]))
        for changed in ((noise(base, 2, 1), levels, text), (latents, levels.flip(0), text), (latents, levels, text.flip(0))):
            assert not close(both, family.predict(base, *changed), 1e-4)


class Blocks(torch.nn.Module):
    """A VAE without loss: a latent is the colour of a block of pixels; its latents are scaled and shifted."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor, self.dtype = factor, torch.float32
        self.config = SimpleNamespace(scaling_factor=0.3, shift_factor=0.1)

    def encode(self, images: torch.Tensor) -> Any:
        colours = F.avg_pool2d(images, self.factor)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=torch.cat([colours, torch.zeros_like(colours[:, :1])], dim=1)))

    def decode(self, latents: torch.Tensor) -> Any:
        return SimpleNamespace(sample=F.interpolate(latents[:, :3], scale_factor=self.factor))


def check_round_trip(family: Any, base: Base) -> None:
    factor = base.size_px // base.latent_shape[1]
    coded = base.with_parts(vae=Blocks(factor))
    colours = torch.randint(256, (3, 3, *base.latent_shape[1:]), generator=torch.Generator().manual_seed(0))
    images = F.interpolate(colours / 127.5 - 1, scale_factor=float(factor))
    latents = family.encode(coded, images)
    assert latents.shape == (3, *base.latent_shape)
    assert close(latents[:, :3], (colours / 127.5 - 1 - 0.1) * 0.3)
    pictures = family.decode(coded, latents)
    assert pictures.dtype.name == "uint8"
    assert abs(torch.from_numpy(pictures).permute(0, 3, 1, 2).int() - ((images + 1) * 127.5).round().int()).max() <= 1


def check_targets(family: Any, base: Base) -> None:
    layers = family.all_layers(base)
    seen: set[str] = set()
    hooks = [layer.register_forward_hook(lambda *_, path=path: seen.add(path)) for path, layer in layers.items()]
    try:
        with torch.no_grad():
            text = family.embed_tokens(base, family.tokenise(base, [SHORT]))
            family.predict(base, noise(base, 1), torch.tensor([5]), text)
    finally:
        for hook in hooks:
            hook.remove()
    for targets in ("transformer", "transformer+conv"):
        trained = family.adapted_layers(base, targets, text_encoder=True)
        assert trained.keys() <= seen  # what is trained is used
        assert all(layers[path] is layer for path, layer in trained.items())
        kinds = {path.partition(".")[0] for path in trained}
        assert kinds == family.adaptable_parts(base).keys()
        without = family.adapted_layers(base, targets)
        assert without.keys() == {path for path in trained if not is_text(path)}
    roles = {name: part.role for name, part in family.parts.items()}
    assert {name for name, role in roles.items() if role == "text encoder"} == {name for name in roles if is_text(name)}
    assert sorted(role for role in roles.values() if role in ("denoiser", "vae")) == ["denoiser", "vae"]
    assert {roles[name] for name in family.adaptable_parts(base)} == {"denoiser", "text encoder"}


def check_spellings(family: Any, base: Base) -> None:
    layers, names = family.all_layers(base), family.spellings(base)
    assert {path for path in names.values() if not is_norm(path)} == layers.keys()
    assert {path for path in names.values() if is_norm(path)} == norm_layers(base).keys()
    keys = {family.write_key(path): path for path in layers}
    assert len(keys) == len(layers)
    assert all(names[key] == path for key, path in keys.items())
    assert all(names[path] == path for path in layers if not is_text(path))


def random_lora(base: Base, seed: int, **recipe: Any) -> Adapter:
    made = make_adapter(base, TrainSpec(**recipe), seed)
    generator = torch.Generator().manual_seed(seed)
    weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.2) for path, (down, up) in made.weights.items()}
    return Adapter(weights, made.alpha, made.rank)


def check_stack(family: Any, base: Base) -> None:
    adapters = [random_lora(base, 1, rank=2), None, random_lora(base, 2, rank=3, targets="transformer+conv"), random_lora(base, 3, rank=1)]
    strengths = [1.0, 1.0, 0.7, 0.0]
    latents, levels = noise(base, 1), torch.tensor([300])
    text = embed(family, base, SHORT)[None]

    def told(n: int) -> torch.Tensor:
        found: torch.Tensor = family.predict(base, latents.repeat(n, 1, 1, 1), levels.repeat(n), text.repeat(n, 1, 1))
        return found

    with torch.no_grad():
        plain = told(4)
        with AdapterStack(base, adapters).attached(strengths):
            together = told(4)
        for k, (adapter, strength) in enumerate(zip(adapters, strengths, strict=True)):
            with AdapterStack(base, [adapter]).attached([strength]):
                assert close(together[k : k + 1], told(1))
        for k in (1, 3):
            assert torch.equal(together[k], plain[k])
        assert torch.equal(told(4), plain)  # as before
        assert not close(together[:1], plain[:1], 1e-3)


def check_path(family: Any, base: Base) -> None:
    latents, random = noise(base, 3), noise(base, 3, 1)
    for prediction in ("epsilon", "v_prediction"):
        path = family.path(base.scheduler_config | {"prediction_type": prediction})
        assert path.n_levels == 1000
        levels = torch.tensor([min(level, path.n_levels - 1) for level in LEVELS])
        noisy = path.noisy(latents, random, levels)
        assert close(path.denoised(noisy, path.target(latents, random, levels), levels), latents, 1e-3)
        far = (noisy - latents).flatten(1).norm(dim=1)
        assert bool((far.diff() > 0).all())
        check_drawn_path(path, latents, noisy, path.target(latents, random, levels), levels)


def check_drawn_path(path: Any, latents: torch.Tensor, noisy: torch.Tensor, told: torch.Tensor, levels: torch.Tensor) -> None:
    """What solvers step is shown as training showed it, and what the denoiser tells of it means the same picture."""
    assert bool((path.sigmas.diff() > 0).all())
    for k, level in enumerate(levels.tolist()):
        sigma = float(path.sigmas[level])
        x = noisy[k : k + 1] / path.shown(torch.ones(1), sigma)
        assert close(path.shown(x, sigma), noisy[k : k + 1])
        assert close(path.clean(x, told[k : k + 1], sigma), latents[k : k + 1], 1e-3)
    assert path.first_scale(float(path.sigmas[-1])) >= float(path.sigmas[-1])


def check_recognition(family: Any, headers: dict[str, Header]) -> None:
    assert [name for name, header in headers.items() if family.recognise(header)] == [family.name]


# --- and its twins -----------------------------------------------------------------------------------------------------------------

Twins = dict[str, Callable[[Any], dict[str, Any]]]


def mixed(told: torch.Tensor) -> torch.Tensor:
    return told - 0.1 * told.mean(dim=0, keepdim=True)


def padded(texts: list[torch.Tensor]) -> list[torch.Tensor]:
    longest = max(text.shape[-2] for text in texts)
    return [F.pad(text, (0, 0, longest - text.shape[-2], 0)) for text in texts]


def lost_layer(family: Any) -> dict[str, Any]:
    def layers(base: Base, targets: str, *, text_encoder: bool = False) -> dict[str, Any]:
        return {**family.adapted_layers(base, targets, text_encoder=text_encoder), "unet.nowhere": torch.nn.Linear(1, 1)}

    return {"adapted_layers": layers}


class WrongWay:
    """A path whose target has the other sign."""

    def __init__(self, path: Any) -> None:
        self.n_levels, self.noisy, self.denoised = path.n_levels, path.noisy, path.denoised
        self.target = lambda *told: -path.target(*told)


class ShownAsItIs(WrongWay):
    """A path that trains rightly and shows the denoiser unscaled pictures when it draws."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.target, self.sigmas, self.clean, self.first_scale = path.target, path.sigmas, path.clean, path.first_scale
        self.shown = lambda x, sigma: x


CHECKS: dict[str, tuple[Callable[[Any, Base], None], Twins]] = {
    "embedding": (
        check_embedding,
        {
            "cuts long texts": lambda f: {"embed": lambda b, p, clip_skip: f.embed(b, p, clip_skip=clip_skip)[: f.text_shape(b)[0]]},
            "trains on another layer": lambda f: {"embed_tokens": lambda b, t: 1.01 * f.embed_tokens(b, t)},
            "takes any length": lambda f: {"too_long": lambda b, p: None},
        },
    ),
    "join": (
        check_join,
        {"pads with zeros": lambda f: {"join": padded}},
    ),
    "prediction": (
        check_prediction,
        {
            "mixes pictures": lambda f: {"predict": lambda *told: mixed(f.predict(*told))},
            "is deaf": lambda f: {"predict": lambda b, z, level, t: f.predict(b, z, level, torch.zeros_like(t))},
        },
    ),
    "round trip": (
        check_round_trip,
        {
            "forgets the scale": lambda f: {"encode": lambda b, x: f.encode(b, x) / 0.3},
            "decodes too bright": lambda f: {"decode": lambda b, z: f.decode(b, z + 0.02)},
        },
    ),
    "targets": (
        check_targets,
        {
            "trains what is not used": lost_layer,
            "forgets the text encoders": lambda f: {"adapted_layers": lambda b, t, text_encoder=False: f.adapted_layers(b, t)},
        },
    ),
    "spellings": (
        check_spellings,
        {
            "two layers of one name": lambda f: {"write_key": lambda path: re.sub(r"attn[12]", "attn", f.write_key(path))},
            "a layer without a name": lambda f: {"spellings": lambda b: {n: p for n, p in f.spellings(b).items() if "conv_in" not in p}},
        },
    ),
    "stack": (check_stack, {"mixes groups": lambda f: {"predict": lambda *told: mixed(f.predict(*told))}}),
    "path": (
        check_path,
        {
            "the wrong way": lambda f: {"path": lambda config: WrongWay(f.path(config))},
            "draws unscaled": lambda f: {"path": lambda config: ShownAsItIs(f.path(config))},
        },
    ),
}  # fmt: skip


def twin(family: Any, changes: dict[str, Any]) -> Any:
    return SimpleNamespace(**{name: getattr(family, name) for name in family.__all__} | changes)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("promise", CHECKS)
def test_each_family_keeps_its_promises(bases: dict[str, Base], name: str, promise: str) -> None:
    CHECKS[promise][0](FAMILIES[name], bases[name])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("promise", "how"), [(promise, how) for promise, (_, twins) in CHECKS.items() for how in twins])
def test_a_twin_that_breaks_a_promise_is_caught(bases: dict[str, Base], name: str, promise: str, how: str) -> None:
    check, twins = CHECKS[promise]
    broken = twin(FAMILIES[name], twins[how](FAMILIES[name]))
    with pytest.raises(AssertionError):
        check(broken, bases[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_is_recognised_by_its_own_family_alone(small: dict[str, tuple[Path, Path]], name: str) -> None:
    headers = {family: read_header(file) for family, (_, file) in small.items()}
    check_recognition(FAMILIES[name], headers)
    for answer in (True, False):
        with pytest.raises(AssertionError):
            check_recognition(twin(FAMILIES[name], {"recognise": lambda header, answer=answer: answer}), headers)


def test_the_rest_of_the_package_asks_the_family() -> None:
    """No file outside `bases` names the parts of a pipeline, its widths or its families."""
    package = Path(load_base.__code__.co_filename).parents[1]
    asks = re.compile(r"\.unet\b|\btext_encoder_2\b|\.text_encoder\b|\.tokenizer\b|cross_attention_dim|base\.family == |\"sdxl\"")
    allowed = {"adapters/strangers.py"}  # what the files of other tools are called
    found = [
        f"{file.relative_to(package).as_posix()}:{number}"
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).parts[0] not in ("bases", "petri") and file.relative_to(package).as_posix() not in allowed
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if asks.search(line)
    ]
    assert found == []
