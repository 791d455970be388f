"""Writes tests/foreign/files: encoders as other tools leave them, each with the vectors that the tool itself computes.

Run it in an environment of its own, as most of these tools are no dependency of lpla:

    python -m venv /tmp/foreign && /tmp/foreign/bin/pip install torch==2.14.1 torchvision==0.29.1 timm==1.0.31 \
        lightly==1.6.0 lightly-train==0.18.0 transformers==5.24.0 open_clip_torch==3.3.0 onnx==1.23.2 onnxscript==0.7.2
    /tmp/foreign/bin/python tests/foreign/make.py

timm, lightly with Lightning, LightlyTrain, OpenCLIP, transformers, torch.onnx, torch.export and TorchScript write
their own files. The layouts of MoCo, SimSiam, DINO, SwAV, VICReg, MAE and solo-learn, whose code trains on GPUs alone
or needs older libraries, are written by hand around narrow networks. All weights are random, of a few steps where a
tool trains.
"""

import argparse
import copy
import itertools
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

FILES = Path(__file__).parent / "files"
RESNET = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(7))
VECTORS: dict[str, np.ndarray] = {"images": IMAGES.numpy()}


def keep(name: str, backbone: Tensor, projector: Tensor | None = None) -> None:
    """Keep the vectors that the tool computes for the images."""
    VECTORS[f"{name}/backbone"] = backbone.detach().float().numpy()
    if projector is not None:
        VECTORS[f"{name}/projector"] = projector.detach().float().numpy()


def warmed(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, its batch norms having seen noise."""
    network.train()
    with torch.no_grad():
        for _ in range(30):
            network(torch.rand(16, 3, 32, 32))
    return network.eval()


def resnet() -> nn.Module:
    return warmed(timm.create_model("resnet18", num_classes=0, **RESNET))


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **VIT).eval()


def under(prefix: str, network: nn.Module, *without: str) -> dict[str, Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in network.state_dict().items() if name not in without}


def shifted(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """The same network's other weights: those of a slow copy."""
    return {new + k.removeprefix(old): v + 0.1 if v.is_floating_point() else v for k, v in state.items()}


def mlp(*widths: int, bias: bool = True, last_norm: bool | None = None, norm: bool = True) -> nn.Sequential:
    """Linear, batch norm, ReLU, and so on; `last_norm`: whether a last batch norm has weights, None: there is none."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias)] + ([nn.BatchNorm1d(after)] if norm else []) + [nn.ReLU()]
    layers = layers[: -2 if norm else -1]
    if last_norm is not None:
        layers.append(nn.BatchNorm1d(widths[-1], affine=last_norm))
    head = nn.Sequential(*layers).train()
    for _ in range(30):
        head(torch.randn(32, widths[0]))
    return head.eval()


def query_and_slow(
    name: str, net: nn.Module, head: nn.Module, inner: str, prefixes: tuple[str, str], **more: object
) -> None:
    state = under(prefixes[0], net) | under(f"{prefixes[0]}{inner}.", head)
    both = state | shifted(state, *prefixes) | {"module.queue": torch.randn(8, 16)}
    arch = "resnet18"
    torch.save(
        {"epoch": 200, "arch": arch, "state_dict": both, "optimizer": {"state": {}}} | more, FILES / f"{name}.pth.tar"
    )
    features = net(IMAGES)
    keep(name, features, head(features))


def moco() -> None:
    queries = ("module.encoder_q.", "module.encoder_k.")
    query_and_slow("moco_v1", resnet(), nn.Linear(8, 6), "fc", queries, best_acc=np.float64(0.5))
    query_and_slow("moco_v2", resnet(), mlp(8, 8, 6, norm=False), "fc", queries)
    bases = ("module.base_encoder.", "module.momentum_encoder.")
    query_and_slow("moco_v3_resnet", resnet(), mlp(8, 12, 6, bias=False, last_norm=False), "fc", bases, scaler={})
    three = mlp(16, 12, 12, 6, bias=False, last_norm=False)
    query_and_slow("moco_v3_vit", vit(), three, "head", bases, scaler={})


def simsiam() -> None:
    net, head = resnet(), mlp(8, 8, 8, 8, bias=False, last_norm=False)
    state = under("module.encoder.", net) | under("module.encoder.fc.", head)
    state |= under("module.predictor.", mlp(8, 4, 8))
    torch.save({"epoch": 100, "arch": "resnet50", "state_dict": state}, FILES / "simsiam.pth.tar")
    keep("simsiam", net(IMAGES), head(net(IMAGES)))


class DINOHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 6))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.last_layer = nn.utils.weight_norm(nn.Linear(6, 10, bias=False))


def dino() -> None:
    net, head = vit(), DINOHead(16)
    teacher = under("backbone.", net) | under("head.", head)
    student = {f"module.{name}": tensor + 0.1 for name, tensor in teacher.items()}
    args = argparse.Namespace(arch="vit_tiny", output_dir=Path("/tmp"))
    saved = {"student": student, "teacher": teacher, "optimizer": {}, "epoch": 1, "args": args, "fp16_scaler": None}
    torch.save(saved | {"dino_loss": {"center": torch.zeros(1, 10)}}, FILES / "dino.pth")
    keep("dino", net(IMAGES), head.mlp(net(IMAGES)))
    net, head = vit(), DINOHead(16)
    torch.save({"teacher": under("backbone.", net) | under("dino_head.", head)}, FILES / "dinov2.pth")
    keep("dinov2", net(IMAGES), head.mlp(net(IMAGES)))


def others_by_hand() -> None:
    net, head = resnet(), mlp(8, 12, 6)
    state = under("module.", net) | under("module.projection_head.", head)
    state["module.prototypes.weight"] = torch.randn(10, 6)
    torch.save(state, FILES / "swav.pth.tar")
    keep("swav", net(IMAGES), head(net(IMAGES)))

    net, head = resnet(), mlp(8, 12, 12, 12, bias=False)
    state = under("module.backbone.", net) | under("module.projector.", head)
    torch.save({"epoch": 1, "model": state, "optimizer": {}}, FILES / "vicreg.pth")
    keep("vicreg", net(IMAGES), head(net(IMAGES)))

    net = vit()
    extra = {"mask_token": torch.randn(1, 1, 8), "decoder_pos_embed": torch.randn(1, 17, 8)}
    extra |= under("decoder_embed.", nn.Linear(16, 8)) | under("decoder_pred.", nn.Linear(8, 192))
    saved = {"model": under("", net) | extra, "optimizer": {}, "epoch": 1, "scaler": {}, "args": argparse.Namespace()}
    torch.save(saved, FILES / "mae.pth")
    keep("mae", net(IMAGES))

    from omegaconf import OmegaConf

    net, head = resnet(), mlp(8, 12, 6)
    state = under("backbone.", net) | under("projector.", head) | under("classifier.", nn.Linear(8, 10))
    state |= shifted(under("", net), "", "momentum_backbone.") | shifted(under("", head), "", "momentum_projector.")
    saved = {"epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.9.0", "state_dict": state}
    torch.save(
        saved | {"hyper_parameters": OmegaConf.create({"method": "byol", "optimizer": {"lr": 0.1}})},
        FILES / "solo.ckpt",
    )
    keep("solo", net(IMAGES), head(net(IMAGES)))


def lightly() -> None:
    """Lightly's own SimCLR example: a Sequential of children, its head, its loss, by Lightning for a few steps."""
    import pytorch_lightning as pl
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead

    class SimCLR(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*list(timm.create_model("resnet18", **RESNET).children())[:-1])
            self.projection_head = SimCLRProjectionHead(8, 12, 6)
            self.criterion = NTXentLoss()

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            z0, z1 = (self.projection_head(self.backbone(x).flatten(1)) for x in (batch[0], batch[0].flip(3)))
            return self.criterion(z0, z1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    model = SimCLR()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(32, 3, 32, 32)), batch_size=16)
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=folder, **quiet)
        trainer.fit(model, data)
        trainer.save_checkpoint(FILES / "lightly.ckpt", weights_only=True)
    model.eval()
    features = model.backbone(IMAGES).flatten(1)
    keep("lightly", features, model.projection_head(features))


def lightly_train() -> None:
    import lightly_train as tool  # pyright: ignore[reportMissingImports]
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder) / "images" / f"{i}.png")
        model = timm.create_model("resnet18", num_classes=0, **RESNET)
        settings = {"batch_size": 4, "epochs": 1, "num_workers": 0, "accelerator": "cpu", "method": "simclr"}
        out = Path(folder) / "out"
        tool.pretrain(
            out=out, data=Path(folder) / "images", model=model, transform_args={"image_size": (32, 32)}, **settings
        )
        shutil.copy(out / "exported_models" / "exported_last.pt", FILES / "lightly_train.pt")
    net = timm.create_model("resnet18", num_classes=0, **RESNET)
    net.load_state_dict(torch.load(FILES / "lightly_train.pt", weights_only=True))
    keep("lightly_train", net.eval()(IMAGES))


def timm_files() -> None:
    from timm.models import save_for_hf

    net: Any = warmed(timm.create_model("resnet18", num_classes=10, **RESNET))
    torch.save(net.state_dict(), FILES / "timm.pth")
    keep("timm", net.forward_head(net.forward_features(IMAGES), pre_logits=True))
    averaged = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.mul_(0.9)
    torch.save({"state_dict": net.state_dict(), "state_dict_ema": averaged.state_dict()}, FILES / "timm_ema.pth.tar")
    keep("timm_ema", averaged.forward_head(averaged.forward_features(IMAGES), pre_logits=True))
    config = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "input_size": (3, 32, 32), "crop_pct": 1.0}
    net.pretrained_cfg = net.pretrained_cfg | config | {"interpolation": "bicubic"}
    save_for_hf(net, FILES / "timm_folder", model_config={"architecture": "resnet18"}, safe_serialization=True)
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
    keep("timm_folder", net.forward_head(net.forward_features((IMAGES - mean) / std), pre_logits=True))


def open_clip() -> None:
    from open_clip.model import CLIP  # pyright: ignore[reportMissingImports]

    vision = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 32}
    text = {"context_length": 4, "vocab_size": 10, "width": 8, "heads": 2, "layers": 1}
    model = CLIP(embed_dim=6, vision_cfg=vision, text_cfg=text).eval()
    saved = {"name": "narrow", "epoch": 1, "optimizer": {}}
    torch.save(saved | {"state_dict": under("module.", model)}, FILES / "open_clip.pt")
    projected = model.encode_image(IMAGES)
    model.visual.proj = None
    keep("open_clip", model.visual(IMAGES), projected)


def hugging_face() -> None:
    import transformers as tool  # pyright: ignore[reportMissingImports]

    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    size |= {"image_size": 32, "patch_size": 8}
    text = {"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 8, "max_position_embeddings": 4}
    images = (IMAGES * 255).round().byte()
    models = {
        "hf_vit": tool.ViTModel(tool.ViTConfig(**size)),
        "hf_vit_no_pooler": tool.ViTModel(tool.ViTConfig(**size), add_pooling_layer=False),
        "hf_dinov2": tool.Dinov2Model(tool.Dinov2Config(**size)),
        "hf_mae": tool.ViTMAEModel(tool.ViTMAEConfig(**size)),
        "hf_resnet": tool.ResNetModel(
            tool.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic")
        ),
        "hf_clip": tool.CLIPModel(
            tool.CLIPConfig(
                text_config=tool.CLIPTextConfig(**text),
                vision_config=tool.CLIPVisionConfig(**size),
                projection_dim=6,
            )
        ),
    }
    rule = {"size": {"height": 32, "width": 32}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    processor = tool.ViTImageProcessor(**rule)
    VECTORS["bytes"] = images.numpy()
    given = processor([image for image in images], return_tensors="pt")["pixel_values"]
    for name, model in models.items():
        model.eval().save_pretrained(FILES / name)
        processor.save_pretrained(FILES / name)
        if name == "hf_clip":
            whole = model.vision_model(given).pooler_output
            keep(name, whole, model.visual_projection(whole))
            continue
        if name == "hf_mae":
            model.config.mask_ratio = 0.0
            found = model(given, noise=torch.arange(16.0).expand(len(given), -1)).last_hidden_state[:, 0]
        else:
            answer = model(given)
            found = answer.last_hidden_state[:, 0] if answer.get("pooler_output") is None else answer.pooler_output
        keep(name, found.flatten(1))


def programs() -> None:
    net = resnet()
    batch = torch.export.Dim("batch", min=1, max=4096)
    torch.onnx.export(net, (IMAGES[:1],), FILES / "static.onnx", dynamo=True, external_data=False)
    dynamic = {"dynamic_shapes": ({0: batch},), "dynamo": True}
    torch.onnx.export(net, (IMAGES[:2],), FILES / "dynamic.onnx", external_data=False, **dynamic)
    torch.onnx.export(net, (IMAGES[:2],), FILES / "beside.onnx", external_data=True, **dynamic)
    torch.export.save(torch.export.export(net, (IMAGES[:1],)), FILES / "static.pt2")
    torch.export.save(torch.export.export(net, (IMAGES[:2],), dynamic_shapes=({0: batch},)), FILES / "dynamic.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, IMAGES), FILES / "script.pt")
    keep("program", net(IMAGES))


if __name__ == "__main__":
    shutil.rmtree(FILES, ignore_errors=True)
    FILES.mkdir()
    steps = (moco, simsiam, dino, others_by_hand, lightly, lightly_train, timm_files, open_clip, hugging_face, programs)
    for step in steps:
        torch.manual_seed(0)
        print(step.__name__, file=sys.stderr)
        if step in (lightly, lightly_train):
            step()
        else:
            with torch.no_grad():
                step()
    np.savez_compressed(FILES / "vectors.npz", **VECTORS)
