"""Made batches, and the parts of a step written as loops over images, pixels and channels."""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from unimatch import SegmentationModel

CLASSES, SIZE = 4, 40
BOXES1 = [[2, 3, 12, 20], [0, 0, 40, 5], [0, 0, 0, 0], [5, 0, 6, 40]]
BOXES2 = [[0, 0, 0, 0], [10, 10, 40, 40], [1, 2, 20, 9], [0, 0, 0, 0]]


def make_semi_supervised(method_class, **options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", CLASSES, features=8, out_channels=(8, 8, 8, 8))
    method = method_class(model, **options)
    # A teacher unlike the student; both with some pixels of each class, sure of some and unsure of others.
    torch.manual_seed(1)
    teacher = method.teacher.model
    teacher.load_state_dict(SegmentationModel("tiny", CLASSES, features=8, out_channels=(8, 8, 8, 8)).state_dict())
    for network in (teacher, method.student):
        weak = make_batch(4)["unlabeled"]["weak"]
        classifier = network.decoder.classify[2]
        with torch.no_grad():
            logits = copy.deepcopy(network).eval()(weak).transpose(0, 1).flatten(1)  # (C, N)
            mean, spread = logits.mean(1), logits.std(1) / 2
            classifier.weight.div_(spread.view(-1, 1, 1, 1))
            classifier.bias.sub_(mean).div_(spread)
    return method


def make_batch(images, validity="all", seed=0, *, partner=False):
    source = torch.Generator().manual_seed(seed)

    def pictures():
        # Coarse noise, whose features differ from place to place.
        cells = torch.randn(images, 3, SIZE // 4, SIZE // 4, generator=source)
        return cells.repeat_interleave(4, 2).repeat_interleave(4, 3)

    mask = torch.randint(0, CLASSES, (images, SIZE, SIZE), generator=source)
    mask[torch.rand(mask.shape, generator=source) < 0.2] = 255
    valid = torch.ones(images, SIZE, SIZE, dtype=torch.bool)
    if validity == "partly":
        valid[0, :, 15:] = False
        valid[-1, 9:] = False
    elif validity == "none":
        valid[:] = False

    def unlabeled(valid):
        return {
            "weak": pictures(),
            "strong1": pictures(),
            "strong2": pictures(),
            "valid": valid,
            "box1": torch.tensor(BOXES1[:images]),
            "box2": torch.tensor(BOXES2[:images]),
            "truth": torch.full((images, SIZE, SIZE), 255),
            "index": torch.arange(images),
        }

    batch = {
        "labeled": {"image": pictures(), "label": mask, "index": torch.arange(images)},
        "unlabeled": unlabeled(valid),
    }
    if partner:
        batch["partner"] = unlabeled(torch.rand(images, SIZE, SIZE, generator=source) < 0.8)
    return batch


def slow_pseudo_labels(teacher, weak):
    labels, confidences = [], []
    for image in weak:
        with torch.no_grad():
            logits = teacher(image[None])[0].double().numpy()
        odds = np.exp(logits - logits.max(0))
        p = odds / odds.sum(0)
        labels.append(p.argmax(0))
        confidences.append(p.max(0))
    return torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(confidences))


def slow_cutmix(boxes, tensor, partner=None):
    mixed = tensor.clone()
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        source = tensor[len(tensor) - 1 - i] if partner is None else partner[i]
        for row in range(top, bottom):
            for column in range(left, right):
                mixed[i, ..., row, column] = source[..., row, column]
    return mixed


def slow_decode(student, levels):
    return F.interpolate(student.decode(levels), (SIZE, SIZE), mode="bilinear", align_corners=True)


def slow_drop(level, mask):
    images = []
    for features, factors in zip(level.unbind(), mask.flatten(1).tolist(), strict=True):
        images.append(torch.stack([channel * factor for channel, factor in zip(features, factors, strict=True)]))
    return torch.stack(images)


def slow_sum_of_cross_entropy(logits, label, counted):
    total = torch.zeros(())
    for image, labels, here in zip(logits, label, counted, strict=True):
        surprise = image.logsumexp(0) - image  # (C, H, W)
        for k in range(CLASSES):
            total = total + surprise[k][(labels == k) & here].sum()
    return total


def threshold_between(confidence):
    # Half of the pixels pass, and no confidence is so near that rounding could decide.
    ordered = confidence.flatten().sort().values
    middle = ordered[int(0.4 * len(ordered)) : int(0.6 * len(ordered))]
    widest = middle.diff().argmax()
    return float((middle[widest] + middle[widest + 1]) / 2)


def assert_same_gradients(student, slow):
    for (name, fast), other in zip(student.named_parameters(), slow.parameters(), strict=True):
        scale = other.grad.abs().max().item()
        torch.testing.assert_close(fast.grad, other.grad, rtol=1e-3, atol=1e-4 * scale + 1e-7, msg=name)


def slow_consistency(logits, label, confidence, valid, tau):
    return slow_sum_of_cross_entropy(logits, label, (confidence >= tau) & valid) / max(int(valid.sum()), 1)


def slow_mask_ratio(confidence, valid, tau):
    count = int(valid.sum())
    return torch.tensor(int(((confidence >= tau) & valid).sum()) / count if count else 0.0)


def slow_supervised(logits, mask):
    return slow_sum_of_cross_entropy(logits, mask, mask != 255) / max(int((mask != 255).sum()), 1)


def assert_losses_equal(method, losses, expected, slow_student):
    """Losses and gradients of a step against those of a slow version; calls ``backward`` of both."""
    losses.total.backward()
    expected["total"].backward()
    found = {"total": losses.total, **losses.parts}
    assert found.keys() == expected.keys()
    for name, value in found.items():
        close = torch.isclose(value.detach().double(), torch.as_tensor(expected[name]).detach().double(), rtol=1e-5)
        assert close, f"{name}: {value.item()} instead of {torch.as_tensor(expected[name]).item()}"
    assert_same_gradients(method.student, slow_student)


def assert_measured_before_cutmix(pseudo, labeler, batch, tau):
    """What the pseudo labels' quality is measured on is the weak views', where the truth lies too."""
    q, c = slow_pseudo_labels(labeler, batch["unlabeled"]["weak"])
    assert pseudo.tau == tau
    assert torch.equal(pseudo.label, q)
    torch.testing.assert_close(pseudo.confidence.double(), c, atol=1e-5, rtol=1e-5)
    assert torch.equal(pseudo.valid, batch["unlabeled"]["valid"])
