"""Which formats a model answers with, and what its identity is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.formats import Formats
from runtime.gguf_header import read_header
from runtime.interface import ModelOptions
from runtime.models import file_identity, plan_model, question_format
from tests.runtime import make_gguf


def test_the_model_carries_its_formats(models: Path, formats: Formats) -> None:
    assert plan_model(ModelOptions(models / "model.gguf")).formats == formats


def test_the_adapters_formats_win_and_it_says_so(models: Path, tmp_path: Path) -> None:
    lab4 = Formats.load("alpaca2", "lab4")
    adapter = make_gguf.adapter(tmp_path / "lab4.gguf", formats=lab4)
    plan = plan_model(ModelOptions(models / "model.gguf", adapters=((adapter, 1.0),)))
    assert plan.formats == lab4
    assert plan.notes == ("the formats of lab4.gguf are used, not those of model.gguf",)


def test_an_adapter_with_the_same_formats_needs_no_note(models: Path, tmp_path: Path, formats: Formats) -> None:
    adapter = make_gguf.adapter(tmp_path / "same.gguf", formats=formats)
    assert plan_model(ModelOptions(models / "model.gguf", adapters=((adapter, 1.0),))).notes == ()


def test_without_formats_the_error_lists_them(models: Path) -> None:
    with pytest.raises(ConfigError, match=r"alpaca1\|alpaca2\|chatml\|llama3\|vicuna"):
        plan_model(ModelOptions(models / "bare.gguf"))


def test_a_prompt_format_by_hand_brings_formosa_and_says_so(models: Path) -> None:
    options = ModelOptions(models / "bare.gguf", prompt_format="alpaca2")
    chosen, note = question_format(plan_model(options).formats, options)
    assert chosen.name == "formosa"
    assert "formosa" in note


def test_a_prompt_format_alone_in_the_file_asks_for_a_question_format(models: Path, tmp_path: Path) -> None:
    path = make_gguf.model(tmp_path / "p.gguf", models / "tokenizer.model", formats=Formats.load("alpaca2"))
    options = ModelOptions(path)
    with pytest.raises(ConfigError, match=r"formosa\|lab4"):
        question_format(plan_model(options).formats, options)


def test_flags_win_over_what_the_model_carries(models: Path) -> None:
    plan = plan_model(ModelOptions(models / "model.gguf", prompt_format="vicuna", question_format="lab4"))
    assert plan.formats.prompt.name == "vicuna"
    assert plan.formats.question is not None
    assert plan.formats.question.name == "lab4"


def test_models_and_adapters_are_not_mistaken_for_each_other(models: Path) -> None:
    with pytest.raises(ConfigError, match="is an adapter, not a model"):
        plan_model(ModelOptions(models / "adapter.gguf"))
    with pytest.raises(ConfigError, match="is not a LoRA adapter"):
        plan_model(ModelOptions(models / "model.gguf", adapters=((models / "other.gguf", 1.0),)))


def test_an_adapter_for_another_model_is_refused(models: Path, tmp_path: Path) -> None:
    adapter = make_gguf.adapter(tmp_path / "wide.gguf", hidden=96)
    with pytest.raises(ConfigError, match="was made for another model"):
        plan_model(ModelOptions(models / "model.gguf", adapters=((adapter, 1.0),)))


def test_weights_tell_models_apart_without_a_manifest(models: Path, tmp_path: Path) -> None:
    copy = tmp_path / "renamed.gguf"
    shutil.copyfile(models / "model.gguf", copy)
    one, same, other = (
        file_identity(read_header(path)) for path in (models / "model.gguf", copy, models / "other.gguf")
    )
    assert one == same != other


def test_a_manifest_names_the_file_unless_it_is_stale(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    shutil.copyfile(models / "model.gguf", path)
    manifest = {"files": {"m.gguf": {"size": path.stat().st_size, "sha256": "abc"}}}
    beside = tmp_path / "m.gguf.manifest.json"
    beside.write_text(json.dumps(manifest))
    assert file_identity(read_header(path)).startswith("sha256:abc sample:")
    manifest["files"]["m.gguf"]["size"] += 1
    beside.write_text(json.dumps(manifest))
    assert file_identity(read_header(path)).startswith("sample:")


def test_another_model_copied_over_a_manifest_is_another_model(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    shutil.copyfile(models / "model.gguf", path)
    manifest = {"files": {"m.gguf": {"size": path.stat().st_size, "sha256": "abc"}}}
    (tmp_path / "m.gguf.manifest.json").write_text(json.dumps(manifest))
    before = file_identity(read_header(path))
    shutil.copyfile(models / "other.gguf", path)
    assert path.stat().st_size == manifest["files"]["m.gguf"]["size"]
    assert file_identity(read_header(path)) != before


def test_a_context_larger_than_the_models_is_refused_before_the_load(models: Path) -> None:
    with pytest.raises(ConfigError, match="--ctx-size 4096 is more than the model's 2048"):
        plan_model(ModelOptions(models / "model.gguf", ctx_size=4096))
    assert plan_model(ModelOptions(models / "model.gguf", ctx_size=2048)).header.number("context_length") == 2048
