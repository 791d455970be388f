"""Views stand with the data set in its settings, and beside it in an audit: images do not depend on them."""

from collections.abc import Callable

from tiny_audit import source_of

from lpla.auditing.plan import Plan


def test_other_views_neither_reload_the_images_nor_stay_in_the_data_set(tiny: Callable[..., Plan]) -> None:
    usual = tiny()
    other = tiny("dataset.train_views.jitter=0.1", "dataset.query_views.crop_scale=[0.5,1]")
    assert other.images is usual.images and other.units[0].dataset == usual.units[0].dataset
    assert [source_of(one.units[0]).regime.views.jitter for one in (other, usual)] == [0.1, 0.8]
    assert other.full_query.views.crop_scale == (0.5, 1.0)


def test_shadows_on_other_data_have_its_views(tiny: Callable[..., Plan], cifar100_root) -> None:
    shadow = tiny("knowledge.dataset=cifar100", f"data.root={cifar100_root}").units[1]
    assert shadow.dataset == {
        "_target_": "lpla.data.dataset.torchvision.Torchvision",
        "name": "cifar100",
        "root": str(cifar100_root),
        "download": False,
        "part": "pooled",
    }
    assert source_of(shadow).regime.views.hue == 0.1
