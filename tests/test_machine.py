"""What a trainer's settings need of this machine: one sentence each, before any work."""

from collections.abc import Callable

import pytest
import torch
from tiny_audit import TINY, Ran

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store
from lpla.work.machine import accelerator, check_trainer
from lpla.work.trainer import STRATEGY

Cli = Callable[..., Ran]
RANKS = {"strategy": {"_target_": STRATEGY}}
REFUSED = {
    "an unknown accelerator": ({"accelerator": "gpuu"}, "trainer.accelerator must be auto, cpu or gpu, got gpuu"),
    "one without views": ({"accelerator": "mps"}, "trainer.accelerator must be auto, cpu or gpu, got mps"),
    "no devices": ({"devices": 0}, "trainer.devices must be 1 without trainer=ddp, got 0"),
    "several devices": ({"devices": 2}, "trainer.devices must be 1 without trainer=ddp, got 2"),
    "several GPUs by number": ({"devices": [0, 1]}, r"trainer.devices must be 1 without trainer=ddp, got \[0, 1\]"),
    "no ranks": (RANKS | {"devices": 0}, "trainer.devices must be auto, an integer >= 1 or a list of GPUs' numbers"),
    "a truth value": (RANKS | {"devices": True}, "trainer.devices must be auto, .*, got True"),
    "a GPU twice": (RANKS | {"devices": [1, 1]}, r"trainer.devices must be auto, .*, got \[1, 1\]"),
    "words": (RANKS | {"devices": "two"}, "trainer.devices must be auto, .*, got two"),
    "no hosts": (RANKS | {"num_nodes": 0}, "trainer.num_nodes must be an integer >= 1, and 1 without trainer=ddp"),
    "several hosts": ({"num_nodes": 2}, "trainer.num_nodes must be an integer >= 1, and 1 without trainer=ddp, got 2"),
}
REFUSED_HERE = {
    "gpu": ({"accelerator": "gpu"}, "trainer.accelerator=gpu needs a CUDA GPU, of which torch finds none"),
    "a list on the CPU": ({"devices": [0]}, r"trainer.devices must be an integer >= 1 on the CPU .*, got \[0\]"),
    "float16": ({"precision": "16-mixed"}, "trainer.precision=16-mixed needs a CUDA GPU; set .*bf16-mixed or 32-true"),
}


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("here", [True, False])
def test_settings_that_work_nowhere(case: str, here: bool) -> None:
    settings, message = REFUSED[case]
    with pytest.raises(InputError, match=f"^{message}"):
        check_trainer(settings, here)


@pytest.mark.parametrize("case", REFUSED_HERE)
def test_settings_that_do_not_work_here_may_work_elsewhere(case: str, no_gpu: None) -> None:
    settings, message = REFUSED_HERE[case]
    check_trainer(settings, here=False)
    with pytest.raises(InputError, match=f"^{message}"):
        check_trainer(settings)


def test_devices_are_those_that_are_there(two_gpus: None) -> None:
    for devices in (1, 2, "auto", [1], [0, 1]):
        check_trainer(RANKS | {"devices": devices})
    check_trainer({"devices": [1], "precision": "16-mixed"})
    for devices in (3, [2]):
        with pytest.raises(InputError, match="must name GPUs of this machine, of which there are 2"):
            check_trainer(RANKS | {"devices": devices})
    check_trainer(RANKS | {"accelerator": "cpu", "devices": 3})


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_auto_is_the_cpu_where_there_is_a_gpu_that_cannot_make_views(
    tiny: Callable[..., Plan], no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytorch_lightning.accelerators.mps.MPSAccelerator.is_available", lambda: True)
    monkeypatch.setattr("pytorch_lightning.accelerators.mps.MPSAccelerator.get_parallel_devices", lambda _: ["mps"])
    assert tiny("trainer=auto").units[0].source.trainer_factory()().strategy.root_device == torch.device("cpu")


def test_auto_is_a_cuda_gpu_where_there_is_one(two_gpus: None) -> None:
    assert accelerator({}) == accelerator({"accelerator": "auto"}) == accelerator({"accelerator": "gpu"}) == "cuda"
    assert accelerator({"accelerator": "cpu"}) == "cpu"


@pytest.mark.parametrize("mistake", ["trainer=gpu", "trainer.accelerator=tpu", "trainer.devices=[0]"])
def test_a_job_says_so_before_any_work(mistake: str, cli: Cli, no_gpu: None) -> None:
    ran = cli(*TINY, mistake)
    errors = [line for line in ran.out.splitlines() if line.startswith("error:")]
    assert ran.code == 1 and len(errors) == 1 and errors[0].startswith("error: trainer."), ran
    assert "Traceback" not in ran.out and not list(ran.folder.parents[1].glob("store"))


def test_a_cluster_may_have_the_gpu_that_this_machine_lacks(tiny: Callable[..., Plan], no_gpu: None) -> None:
    for executor in (["executor=dask", "executor.address=tcp://elsewhere:8786"], ["executor=slurm"]):
        assert tiny("trainer=gpu", *executor).units[0].source.trainer["accelerator"] == "gpu"
    # A Dask cluster without an address is one that is started here.
    for executor in ("serial", "processes", "dask"):
        with pytest.raises(InputError, match="needs a CUDA GPU"):
            tiny("trainer=gpu", f"executor={executor}")


def test_store_and_scores_are_their_owners_alone_but_a_shared_folder_stays_shared(cli: Cli) -> None:
    ran = cli(*TINY, "knowledge.kind=known_nonmembers", "knowledge.images=20")
    store = ran.folder.parents[1] / "store"
    assert ran.code == 0 and store.stat().st_mode & 0o777 == 0o700
    assert (ran.folder / "scores.npz").stat().st_mode & 0o777 == 0o600
    shared = store.parent / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    assert Store(shared).root.stat().st_mode & 0o777 == 0o770
