"""Weights under other names and VAEs from elsewhere: the variants of diffusers' downloads, and a VAE in place of the base's own."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from loralab.bases import Base, decode_latents, load_base
from loralab.bases.load import load_base as load
from loralab.cli import main
from loralab.errors import LabError
from loralab.spec import LoadSpec
from loralab.spec.elsewhere import named_path

Small = dict[str, tuple[Path, Path]]
SIZE = LoadSpec(size_px=64)


def same_weights(one: Base, two: Base) -> bool:
    parts = ("unet", "vae", "text_encoder", "text_encoder_2")
    pairs = [(getattr(one, part), getattr(two, part)) for part in parts if getattr(one, part) is not None]
    return all(torch.equal(a, b) for x, y in pairs for a, b in zip(x.state_dict().values(), y.state_dict().values(), strict=True))


def renamed(folder: Path, variant: str) -> Path:
    for file in list(folder.rglob("*.safetensors")):
        file.rename(file.with_name(file.name.replace(".safetensors", f".{variant}.safetensors")))
    return folder


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema", "anything"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_folder_of_one_variant_is_the_same_base(
    small: Small, bases: dict[str, Base], tmp_path: Path, capfd: pytest.CaptureFixture[str], variant: str, family: str
) -> None:
    folder = renamed(shutil.copytree(small[family][0], tmp_path / "base"), variant)
    base = load_base(str(folder), SIZE)
    assert same_weights(base, bases[family])
    assert base.weights == folder / "unet" / f"diffusion_pytorch_model.{variant}.safetensors"
    assert capfd.readouterr() == ("", "")


def test_plain_weights_are_taken_before_a_variant_beside_them(small: Small, bases: dict[str, Base], tmp_path: Path) -> None:
    folder = shutil.copytree(small["sd1"][0], tmp_path / "base")
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    for variant in ("fp16", "non_ema"):
        save_file(
            {key: torch.zeros_like(value) for key, value in load_file(plain).items()},
            plain.with_name(plain.stem + f".{variant}.safetensors"),
        )
    base = load_base(str(folder), SIZE)
    assert same_weights(base, bases["sd1"])
    assert base.weights == plain


def test_a_variant_in_several_files(small: Small, bases: dict[str, Base], tmp_path: Path) -> None:
    folder = renamed(shutil.copytree(small["sd1"][0], tmp_path / "base"), "fp16")
    unet = UNet2DConditionModel.from_pretrained(small["sd1"][0] / "unet")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    unet.save_pretrained(folder / "unet", variant="fp16", max_shard_size="500KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    base = load_base(str(folder), SIZE)
    assert same_weights(base, bases["sd1"])
    assert base.weights is None


def test_two_unusual_variants_are_a_question(small: Small, tmp_path: Path) -> None:
    folder = renamed(shutil.copytree(small["sd1"][0], tmp_path / "base"), "one")
    only = folder / "unet" / "diffusion_pytorch_model.one.safetensors"
    shutil.copy(only, only.with_name("diffusion_pytorch_model.two.safetensors"))
    with pytest.raises(LabError, match="the weights one, two, but none under the usual names"):
        load_base(str(folder), SIZE)


def test_a_strange_name_is_no_weights_and_is_named(small: Small, tmp_path: Path) -> None:
    folder = shutil.copytree(small["sd1"][0], tmp_path / "base")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "sd-vae-ft-mse.safetensors")
    with pytest.raises(LabError, match=r"vae/ contains no \.safetensors weights, only sd-vae-ft-mse\.safetensors"):
        load_base(str(folder), SIZE)


# --- a VAE of one's own ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_vae(small: Small, tmp_path: Path) -> Path:
    """The small VAE with other weights, as a diffusers folder."""
    vae = AutoencoderKL.from_pretrained(small["sd1"][0] / "vae")
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for value in vae.parameters():
            value += 0.02 * torch.randn(value.shape, generator=generator)
    vae.save_pretrained(tmp_path / "other-vae")
    return tmp_path / "other-vae"


def ldm_file(folder: Path, path: Path, prefix: str) -> Path:
    from ldm import ldm_vae

    vae = AutoencoderKL.from_pretrained(folder)
    save_file({prefix + key: value.contiguous().clone() for key, value in ldm_vae(vae).items()}, path)
    return path


@pytest.mark.parametrize("kind", ["folder", "pipeline", "diffusers file", "original", "original, prefixed"])
def test_a_vae_replaces_the_bases_own(small: Small, bases: dict[str, Base], other_vae: Path, tmp_path: Path, kind: str) -> None:
    place = {
        "folder": lambda: other_vae,
        "pipeline": lambda: shutil.copytree(other_vae, tmp_path / "pipeline" / "vae").parent,
        "diffusers file": lambda: other_vae / "diffusion_pytorch_model.safetensors",
        "original": lambda: ldm_file(other_vae, tmp_path / "vae.safetensors", ""),
        "original, prefixed": lambda: ldm_file(other_vae, tmp_path / "vae.safetensors", "first_stage_model."),
    }[kind]()
    for reference in small["sd1"]:
        base = load(str(reference), LoadSpec(size_px=64, vae=str(place)))
        own = AutoencoderKL.from_pretrained(other_vae).state_dict()
        assert all(torch.equal(base.vae.state_dict()[key], value) for key, value in own.items())
        assert base.vae.config.scaling_factor == bases["sd1"].vae.config.scaling_factor
        assert base.fingerprint != load(str(reference), SIZE).fingerprint
        assert not base.vae.training
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert abs(decode_latents(base, latents).astype(int) - decode_latents(bases["sd1"], latents)).max() > 1


def test_a_checkpoint_without_a_vae_takes_one(small: Small, other_vae: Path, tmp_path: Path) -> None:
    state = {key: value for key, value in load_file(small["sd1"][1]).items() if not key.startswith("first_stage_model.")}
    save_file(state, tmp_path / "bare.safetensors")
    with pytest.raises(LabError, match="has no VAE") as raised:
        load_base(str(tmp_path / "bare.safetensors"), SIZE)
    assert "`vae: PATH`" in str(raised.value)
    base = load_base(str(tmp_path / "bare.safetensors"), LoadSpec(size_px=64, vae=str(other_vae)))
    assert base.vae.config.latent_channels == 4


def test_what_is_no_vae_is_refused(small: Small, tmp_path: Path) -> None:
    (tmp_path / "vae.pt").write_bytes(b"")
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    for name, says in {"vae.pt": "is a pickle", "nothing.safetensors": "no VAE at", "a.safetensors": "not a kind of VAE"}.items():
        with pytest.raises(LabError, match=says):
            load_base(str(small["sd1"][0]), LoadSpec(vae=str(tmp_path / name)))


# --- paths --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SD 1.5 [pruned] (v2)", "~base", "a*b"])
def test_a_base_is_found_letter_by_letter(
    small: Small, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = shutil.copytree(small["sd1"][0], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for reference in (str(place), name):
        assert load_base(reference, SIZE).fingerprint == bases["sd1"].fingerprint


def test_a_tilde_is_the_home(small: Small, bases: dict[str, Base], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(small["sd1"][0], tmp_path / "models" / "sd [1]")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert load_base("~/models/sd [1]", SIZE).fingerprint == bases["sd1"].fingerprint
    assert named_path("~/nothing", tmp_path) == tmp_path / "~/nothing"
    assert named_path("~/models", Path("elsewhere")) == tmp_path / "models"


def test_commands_take_a_vae_for_a_base_that_has_none(
    small: Small, other_vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    bare = Path(shutil.copytree(small["sd1"][0], tmp_path / "bare"))
    shutil.rmtree(bare / "vae")
    (tmp_path / "set").mkdir()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "set" / "a.png")
    asked = ["audit", str(tmp_path / "set"), "--base", str(bare), "--out", str(tmp_path / "a.html")]
    with pytest.raises(SystemExit) as refused:
        main(asked)
    assert refused.value.code == 2
    assert "vae" in capsys.readouterr().err
    with contextlib.suppress(SystemExit):
        main([*asked, "--vae", str(other_vae)])
    assert (tmp_path / "a.html").is_file()
