"""A straightforward training step of each method: the baseline of ``benchmarks/step.py``.

It is eager float32, follows the specification and works like the published code: labelled images and strong views pass
through the student separately, attention is two matrix products with a softmax between them, the decoder is applied as
written, logits of all classes are kept at full size, CutMix writes through boolean masks, the teacher is a loop over
tensors, and four numbers per step are fetched from the device.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timing import Clock
from torch import Tensor, nn
from torch.optim import AdamW

from unimatch.methods import FixMatch, Method, Supervised, UniMatchV1, UniMatchV2
from unimatch.models.dropout import channel_masks, feature_masks


class PlainModel(nn.Module):
    """The weights of one of our models in plain layout, with plain attention and a plain decoder."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        for module in self.model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False

    def encode(self, images: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> four feature levels."""
        return self.model.encoder(images)

    def decode(self, levels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Four feature levels -> (N, C, *size)."""
        decoder = self.model.decoder
        layers = zip(levels, decoder.project, decoder.resize, decoder.reduce, strict=True)
        maps = [reduce(resize(project(level))) for level, project, resize, reduce in layers]
        path = None
        for k in (3, 2, 1, 0):
            block = decoder.fuse[k]
            path = maps[k] if path is None else path + block.refine_skip(maps[k])
            finer = maps[k - 1].shape[-2:] if k else [2 * side for side in maps[0].shape[-2:]]
            path = block.project(upsample(block.refine(path), finer))
        return upsample(decoder.classify(path), size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H, W)."""
        return self.decode(self.encode(images), images.shape[-2:])


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners aligned."""
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)


class PlainStep:
    """The same training as a method's, on copies of its weights."""

    def __init__(self, method: Method, clock: Clock) -> None:
        self.clock, self.tau, self.decay = clock, getattr(method, "tau", 0.0), method.teacher.decay
        self.student: Any = PlainModel(method.student)
        self.teacher: Any = PlainModel(method.teacher.model).eval()
        encoder, decoder = self.student.model.encoder, self.student.model.decoder
        rate = method.learning_rate
        groups = [
            {"params": encoder.parameters(), "lr": rate},
            {"params": decoder.parameters(), "lr": rate * method.decoder_multiplier},
        ]
        self.optimizer = AdamW(groups, betas=(0.9, 0.999), weight_decay=method.weight_decay)
        self.losses = {
            Supervised: self.supervised,
            FixMatch: self.fixmatch,
            UniMatchV1: self.unimatch_v1,
            UniMatchV2: self.unimatch_v2,
        }[type(method)]

    def __call__(self, batch: Any, generator: torch.Generator, iteration: int) -> float:
        """One step; the loss."""
        total, numbers = self.losses(batch, generator)
        self.optimizer.zero_grad()
        with self.clock("backward"):
            total.backward()
        with self.clock("optimiser"):
            self.optimizer.step()
        with self.clock("teacher update"), torch.no_grad():
            decay = min(1 - 1 / (iteration + 1), self.decay)
            for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                mine.copy_(mine * decay + theirs.detach() * (1 - decay))
            for mine, theirs in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
                if mine.is_floating_point():
                    mine.copy_(mine * decay + theirs * (1 - decay))
                else:
                    mine.copy_(theirs)
        for number in numbers:
            number.item()
        return total.item()

    def supervised(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Labelled images alone."""
        loss = self.labeled(self.run(batch["labeled"]["image"]), batch)
        return loss, []

    def fixmatch(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Labelled images and one strong view in one pass."""
        _p, q, c = self.pseudo_labels(batch)  # the logits stay, as they do where one writes it first
        ((s, *labels),) = self.strong(batch, q, c, 1)
        x = batch["labeled"]["image"]
        f_x, f_s = self.run(torch.cat([x, s])).split([len(x), len(s)])
        loss_x, loss_s = self.labeled(f_x, batch), self.consistency(f_s, *labels)
        return (loss_x + loss_s) / 2, [loss_x, loss_s, self.ratio(c, batch)]

    def unimatch_v1(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Labelled and weak images in one pass, the latter's features also dropped; strong views in another."""
        _p, q, c = self.pseudo_labels(batch)  # the logits stay, as they do where one writes it first
        strong = self.strong(batch, q, c, 2)
        x, w = batch["labeled"]["image"], batch["unlabeled"]["weak"]
        with self.clock("student"):
            levels = self.student.encode(torch.cat([x, w]))
            masks = feature_masks(len(w), [level.shape[1] for level in levels], 0.5, generator=generator)
            dropped = [level[len(x) :] * mask for level, mask in zip(levels, masks, strict=True)]
            both = [torch.cat(pair) for pair in zip(levels, dropped, strict=True)]
            f_x, _, f_fp = self.student.decode(both, x.shape[-2:]).split([len(x), len(w), len(w)])
        f_s = self.run(torch.cat([view[0] for view in strong])).chunk(2)
        loss_x = self.labeled(f_x, batch)
        losses = [self.consistency(f, *view[1:]) for f, view in zip(f_s, strong, strict=True)]
        loss_fp = self.consistency(f_fp, q, c, batch["unlabeled"]["valid"])
        loss_s = (losses[0] + losses[1]) / 2
        return (loss_x + 0.5 * loss_s + 0.5 * loss_fp) / 2, [loss_x, loss_s, loss_fp, self.ratio(c, batch)]

    def unimatch_v2(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
        """Labelled images in one pass, both strong views with Complementary Dropout in another."""
        _p, q, c = self.pseudo_labels(batch)  # the logits stay, as they do where one writes it first
        strong = self.strong(batch, q, c, 2)
        f_x = self.run(batch["labeled"]["image"])
        with self.clock("student"):
            f_s = self.dropped(torch.cat([view[0] for view in strong]), generator).chunk(2)
        loss_x = self.labeled(f_x, batch)
        losses = [self.consistency(f, *view[1:]) for f, view in zip(f_s, strong, strict=True)]
        loss_s = (losses[0] + losses[1]) / 2
        return (loss_x + loss_s) / 2, [loss_x, loss_s, self.ratio(c, batch)]

    def dropped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One pass of the student with Complementary Dropout of its features."""
        levels = self.student.encode(images)
        masks = channel_masks(len(images) // 2, [level.shape[1] for level in levels], generator=generator)
        dropped = [level * mask for level, mask in zip(levels, masks, strict=True)]
        return self.student.decode(dropped, images.shape[-2:])

    def run(self, images: Tensor) -> Tensor:
        """One pass of the student."""
        with self.clock("student"):
            return self.student(images)

    def pseudo_labels(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's logits, which stay to the end of the step, and the labels and confidences made of them."""
        with torch.no_grad():
            with self.clock("teacher"):
                logits = self.teacher(batch["unlabeled"]["weak"])
            with self.clock("pseudo labels"):
                return logits, logits.argmax(1), logits.softmax(1).max(1)[0]

    def strong(self, batch: Any, q: Tensor, c: Tensor, views: int) -> list[tuple[Tensor, ...]]:
        """The strong views after CutMix, with labels, confidences and valid masks."""
        part, pasted = batch["unlabeled"], []
        with self.clock("CutMix"):
            for k in range(1, views + 1):
                inside = torch.zeros(q.shape, dtype=torch.bool, device=q.device)
                for i, (top, left, bottom, right) in enumerate(part[f"box{k}"].tolist()):
                    inside[i, top:bottom, left:right] = True
                view = []
                for tensor in (part[f"strong{k}"], q, c, part["valid"]):
                    where = inside if tensor.dim() == 3 else inside.unsqueeze(1).expand(tensor.shape)
                    mixed = tensor.clone()
                    mixed[where] = tensor.flip(0)[where]
                    view.append(mixed)
                pasted.append(tuple(view))
        return pasted

    def labeled(self, logits: Tensor, batch: Any) -> Tensor:
        """Cross-entropy of the labelled images."""
        with self.clock("losses"):
            return F.cross_entropy(logits, batch["labeled"]["label"], ignore_index=255)

    def consistency(self, logits: Tensor, q: Tensor, c: Tensor, valid: Tensor) -> Tensor:
        """Cross-entropy against confident pseudo labels."""
        with self.clock("losses"):
            loss = F.cross_entropy(logits, q, reduction="none")
            return (loss * ((c >= self.tau) & valid)).sum() / valid.sum().item()

    def ratio(self, c: Tensor, batch: Any) -> Tensor:
        """The share of confident pixels."""
        valid = batch["unlabeled"]["valid"]
        return ((c >= self.tau) & valid).sum() / valid.sum()
