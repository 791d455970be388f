"""A given encoder through the whole audit: as our own read back from its file, by labels, refused where it must be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_audit import TINY_GIVEN, Silent, scores_of, source_of, tiny_settings

from lpla.auditing import job
from lpla.auditing.loggers.record import Job, recorded
from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import Settings, composed
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError, Views
from lpla.encoders.target._weights import WeightsTarget
from lpla.store.artifacts import Store, key_of
from lpla.work.given import Given
from lpla.work.recipe import Unit
from lpla.work.unit import make, provenances, to_train

FILES = Path(__file__).parent / "foreign" / "files"
OURS = ["target.arch=ours/cifar_resnet", "+target.arguments.width=0.125", "target.channels=1", "target.normalize=none"]
DIGITS = ["dataset=digits", "split=balanced"]
"""In place of a user's lists: the images and the layout of an ordinary audit."""
SCRIPT = ["target=exported", f"target.file={FILES / 'script.pt'}", "target.run_code=true", "target.normalize=half"]
"""Of which no random twin can be had."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The overrides of an audit of our own encoder from its file, and the folder of the ordinary audit."""
    root = tmp_path_factory.mktemp("own")
    settings = tiny_settings(f"store={root / 'store'}", "knowledge.kind=labels")
    (root / "job").mkdir()
    job.audit(settings, root / "job")
    place = Store(root / "store").path("encoders", key_of(plan(settings).units[0].encoder_parts))
    return ["target=checkpoint", f"target.file={place / 'weights.safetensors'}", *OURS, *DIGITS], root / "job"


def settings_of(*overrides: str) -> Settings:
    """The settings of a tiny audit of a given encoder, with `overrides`."""
    return composed([*TINY_GIVEN, *overrides, "members=20"])


def given(overrides: list[str], *more: str) -> Plan:
    return plan(settings_of(*overrides, *more))


def test_our_own_encoder_from_its_file_has_the_scores_of_the_ordinary_audit(
    own: tuple[list[str], Path], tmp_path: Path
) -> None:
    overrides, ordinary = own
    rows = job.audit(settings_of(*overrides, f"store={tmp_path / 'store'}"), tmp_path)
    found, expected = (scores_of(folder) for folder in (tmp_path, ordinary))
    assert found["layer"].tolist() == expected["layer"].tolist() == ["backbone", "projector"]
    np.testing.assert_array_equal(found["index"], expected["index"])
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)
    assert np.ptp(found["score"]) > 0
    for row in rows:
        assert (row.arch, row.backbone, row.epochs) == ("weights.safetensors", "ours/cifar_resnet", None)
        assert (row.knowledge, row.shadows, row.shadow_image_epochs, row.trained_on) == ("labels", 0, 0, "")
        assert row.null_untrained_auc is not None and row.null_permuted_auc is not None
        assert "SHA-256 " in row.given and "read by target=checkpoint" in row.given and "channels 1" in row.given
        assert "the untrained null is the same architecture with random weights" in row.given
    assert not (tmp_path / "store" / "encoders").exists() or not any((tmp_path / "store" / "encoders").glob("*/*.json"))


def test_nothing_is_trained_and_every_part_of_a_job_knows_it(own: tuple[list[str], Path], tmp_path: Path) -> None:
    work, store = given(own[0]), Store(tmp_path / "store")
    (target,), twin = work.units, work.encoders.untrained.unit
    assert to_train([target, twin], store) == [] and target.source.is_made(store)
    for unit in (target, twin):
        assert not make(unit, store, Silent()).trained
        assert len(provenances(unit, store)) == sum(len(one.statistics) for one in unit.observations)
    record = recorded(work, store, [], [], {}, Job(tmp_path, "group"))
    assert record.trainings == [] and list(record.steps("train")) == []


def test_a_target_and_its_twin_are_built_once_a_job_and_anew_where_the_file_is_another(
    own: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[bool] = []
    really = WeightsTarget._build
    monkeypatch.setattr(WeightsTarget, "_build", lambda self, load: built.append(load) or really(self, load))
    copied = tmp_path / "copied.safetensors"
    weights = load_file(str(own[0][1].removeprefix("target.file=")))
    save_file(weights, copied)
    overrides = [*own[0], f"target.file={copied}", f"store={tmp_path / 'store'}", "permutations=1"]
    job.audit(settings_of(*overrides), None)
    assert sorted(built) == [False, True]
    # Planned by one file, and made after another took its place: what was looked at is not taken for it.
    images = torch.rand(2, 1, 8, 8)
    source = plan(settings_of(*overrides)).units[0].source
    before = source.build().encode(images)["backbone"]
    plan(settings_of(*overrides))
    save_file({name: 2 * one if one.is_floating_point() else one for name, one in weights.items()}, copied)
    found = replace(source).build().encode(images)["backbone"]
    assert not torch.equal(found, before)


def test_a_unit_on_disk_is_the_same_unit(own: tuple[list[str], Path], tmp_path: Path) -> None:
    work = given(own[0])
    for unit in (work.units[0], work.encoders.untrained.unit):
        unit.save(tmp_path / "recipe.json")
        read = Unit.load(tmp_path / "recipe.json")
        assert isinstance(read.source, Given) and read.source.random == unit.source.random  # pyright: ignore[reportAttributeAccessIssue]
        assert read.encoder_parts == unit.encoder_parts and read.observations == unit.observations


def test_a_unit_on_disk_runs_no_code_of_its_file(tmp_path: Path) -> None:
    unit = given([*SCRIPT, *DIGITS])
    unit.units[0].save(tmp_path / "recipe.json")
    with pytest.raises(InputError, match=r"names a target that runs code, lpla\.encoders\.target\.exported"):
        Unit.load(tmp_path / "recipe.json")


def test_keys_hold_the_file_and_how_it_is_read_and_no_path(own: tuple[list[str], Path], tmp_path: Path) -> None:
    source = given(own[0]).units[0].source
    assert isinstance(source, Given)
    copied = tmp_path / "moved.safetensors"
    copied.write_bytes(Path(str(source.target["file"])).read_bytes())
    moved = given([*own[0], f"target.file={copied}"]).units[0]
    assert moved.encoder_parts == source.parts()
    assert given([*own[0], "target.normalize=half"]).units[0].encoder_parts != source.parts()
    twin = source.blank()
    assert twin.can_be_rebuilt and twin.parts() != source.parts() and twin.blank().parts() == twin.parts()
    copied.write_bytes(b"")
    with pytest.raises(InputError, match="is an empty file"):
        given([*own[0], f"target.file={copied}"])


def test_where_there_is_no_twin_a_random_network_of_ours_answers_at_the_same_layers() -> None:
    work = given([*SCRIPT, *DIGITS])
    twin = work.encoders.untrained.unit.source
    assert "the untrained null is a ResNet of ours" in work.choices["given"]
    assert isinstance(twin, Given) and not twin.can_be_rebuilt and list(twin.parts()) == ["stand_in", "versions"]
    images = torch.rand(3, 1, 8, 8)
    one, other = (twin.build().encode(images) for _ in "ab")
    assert tuple(one) == work.layers == ("backbone",)
    assert torch.equal(one["backbone"], other["backbone"]) and one["backbone"].std(0).max() > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["observe.every=1"], "observe.every must be null with a target that was trained elsewhere"),
        (
            ["knowledge.kind=shadows", "train.batch_size=10"],
            "knowledge.kind must be labels, few_labels or known_nonmembers, or knowledge.arch",
        ),
        (["layer=cls"], "layer must be one of backbone"),
        (["target.fil=x"], "target"),
        (["target.normalize=no"], "target.normalize must be one of"),
    ],
)
def test_what_no_given_encoder_can_is_one_sentence(own: tuple[list[str], Path], settings: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        given(own[0], *settings)


def test_an_encoder_that_fails_a_check_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_encoder.py").write_text("def encode(x):\n    return (x - x.mean(0)).flatten(1)[:, :6]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"an image has another embedding alone .*: call the model's eval\(\)"):
        given(["target=python", "target.call=bad_encoder:encode", *DIGITS])
    assert not (tmp_path / "store").exists()


def test_shadows_of_ours_may_teach_where_they_are_asked_for(own: tuple[list[str], Path]) -> None:
    work = given(
        own[0], "knowledge.kind=shadows", "knowledge.arch=byol", "shadows=2", "epochs=1", "train.batch_size=10"
    )
    assert [type(unit.source).__name__ for unit in work.units] == ["Given", "Trained", "Trained"]
    assert work.choices["knowledge"] == "shadows arch=byol"
    assert source_of(work.units[1]).regime.epochs == 1 and source_of(work.units[1]).regime.batch_size == 10


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("arch=byol", "arch=byol is not used with target=checkpoint, whose encoder is trained elsewhere; leave it out"),
        ("epochs=5 backbone.width=1", "epochs=5, backbone.width=1 are not used with .*; leave them out"),
        ("train.batch_size=8", "train.batch_size=8 is not used with"),
        ("checkpoint.every=3", "checkpoint.every=3 is not used with"),
        ("backbone=vit_tiny", "backbone=vit_tiny is not used with"),
        ("shadows=8", "shadows=8 is not used with"),
        ("dataset.train_views.flip=0", "dataset.train_views.flip=0 is not used with"),
        ("knowledge.kind=few_labels shadows=8", "^shadows=8 is not used with"),
        ("knowledge.kind=shadows target.shadows=nowhere epochs=5", "^epochs=5 is not used with"),
        (
            "knowledge.kind=shadows knowledge.arch=byol arch.hidden_dim=8 epochs=1",
            "^arch.hidden_dim=8 is not used .*, and its shadows are trained by the framework of knowledge.arch; leave",
        ),
    ],
)
def test_settings_of_a_training_that_is_not_ours_are_refused(settings: str, said: str) -> None:
    """They were dropped without a word; the file is not even looked for."""
    with pytest.raises(InputError, match=said):
        plan(composed(["target=checkpoint", "target.file=nowhere.pt", *OURS, *DIGITS, *settings.split()]))


def test_known_nonmembers_need_a_list_of_their_own() -> None:
    """The count of images was said to be at most 0, which is no count that the user could set."""
    lists = ["target=checkpoint", "data.members=in", "data.nonmembers=out", "knowledge.kind=known_nonmembers"]
    with pytest.raises(InputError, match=r"^knowledge.kind=known_nonmembers needs data.unseen, .* got none$"):
        plan(composed(lists))
    with pytest.raises(InputError, match=r"data\.members"):
        plan(composed([*lists, "data.unseen=further"]))


def test_settings_that_an_option_brings_along_are_not_refused(own: tuple[list[str], Path]) -> None:
    """Only what the user set is held against them: the defaults of every audit are those of a training."""
    assert given(own[0]).encoders.shadows == ()
    assert given(own[0], "knowledge.kind=few_labels", "knowledge.images=8").encoders.shadows == ()


def test_what_identifies_a_file_is_its_content_and_no_answer() -> None:
    unit = given([*SCRIPT, *DIGITS]).units[0]
    images = Images("made up", torch.zeros((3, 3, 8, 8), dtype=torch.uint8), torch.full((3,), -1))
    assert unit.source.answers(images, range(3), Query(Views(flip=0.5), 3, 0)) is None
    assert "answers" not in unit.statistic_parts(unit.observations[0], unit.observations[0].statistics[0])
