"""The authors' own network in a plain training step, from a checkout of their repository (``step.py --authors``).

Their repository is https://github.com/LiheYoung/UniMatch-V2; this one contains none of it. The network is imported
unchanged and gets our weights. The step around it is that of ``plain_step.py``, which follows their code.
"""

import copy
import sys
from pathlib import Path

import torch
from plain_step import PlainStep
from timing import Clock
from torch import Tensor, nn
from torch.optim import AdamW

from unimatch.checkpoints.official import official_key
from unimatch.methods import Method

SIZES = {"vits": "small", "vitb": "base", "vitl": "large"}
"""Their names of the encoders."""


class AuthorsStep(PlainStep):
    """The same training as a method's, with their network on copies of its weights."""

    def __init__(self, method: Method, clock: Clock, checkout: Path) -> None:
        super().__init__(method, clock)
        self.student = network(method.student, checkout, clock.device)
        self.teacher = copy.deepcopy(self.student).eval()
        encoder = list(self.student.backbone.parameters())
        decoder = [parameter for name, parameter in self.student.named_parameters() if "backbone" not in name]
        groups = [
            {"params": encoder, "lr": method.learning_rate},
            {"params": decoder, "lr": method.learning_rate * method.decoder_multiplier},
        ]
        self.optimizer = AdamW(groups, betas=(0.9, 0.999), weight_decay=method.weight_decay)

    def dropped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Their Complementary Dropout, which draws from PyTorch's own generator."""
        return self.student(images, comp_drop=True)


def network(ours: nn.Module, checkout: Path, device: torch.device) -> nn.Module:
    """Their network with the weights of one of ours; on a CPU their ``.cuda()`` does nothing."""
    if device.type == "cpu":
        torch.Tensor.cuda = lambda self, *arguments, **options: self  # type: ignore[method-assign]
    sys.path.insert(0, str(checkout))
    from model.semseg.dpt import DPT  # theirs

    sizes = {"features": ours.features, "out_channels": list(ours.out_channels), "nclass": ours.num_classes}
    theirs = DPT(encoder_size=SIZES[ours.name], **sizes).to(device)
    weights = theirs.state_dict()
    for name, value in ours.state_dict().items():
        key = official_key(name)
        weights[key] = value.reshape(weights[key].shape).clone()
    theirs.load_state_dict(weights)
    return theirs


def difference(step: AuthorsStep, method: Method, images: Tensor) -> float:
    """The largest difference between the logits of their network and ours, of the largest logit."""
    with torch.no_grad():
        theirs, ours = step.teacher(images), method.teacher.model(images)
    return float((theirs - ours).abs().max() / ours.abs().max())
