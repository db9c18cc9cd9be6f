"""Devices: those that torch finds are taken by the name that a study writes, others are refused with what they need."""

import pytest
import torch
from pydantic import ValidationError

from loralab.bases.load import DEVICES, device_names, device_of
from loralab.errors import LabError
from loralab.spec import LoadSpec
from loralab.spec.load import overruled_load


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps", "xpu", "xpu:3"])
def test_a_study_may_name_every_kind_that_is_known(name: str):
    assert LoadSpec(device=name).device == name
    assert name.partition(":")[0] in DEVICES


@pytest.mark.parametrize("name", ["gpu", "mps:1x", "cuda:", "cuda:-1", "meta", "CPU", "directml"])
def test_other_words_are_refused_with_the_choices(name: str):
    with pytest.raises(ValidationError):
        LoadSpec(device=name)
    with pytest.raises(LabError, match=r"cpu, cuda, cuda:N, mps, xpu or xpu:N"):
        overruled_load(LoadSpec(), name, None)


@pytest.mark.parametrize(("name", "says"), [("cuda", "NVIDIA card"), ("mps", "Apple silicon"), ("xpu:1", "Intel Arc")])
def test_a_kind_that_torch_does_not_find_says_what_it_needs(name: str, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(LabError, match=f"(?s)torch {torch.__version__.split('+')[0]}.* finds 0 .*{says}.*loralab doctor"):
        device_of(name)
    assert device_names() == []


def test_those_that_torch_finds_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_names() == ["cuda", "cuda:1", "mps"]
    assert [device_of(name) for name in ("cpu", "cuda:1", "mps")] == [torch.device("cpu"), torch.device("cuda:1"), torch.device("mps")]
    with pytest.raises(LabError, match="finds 2 CUDA devices"):
        device_of("cuda:2")
