import copy

import numpy as np
import pytest
import torch

from unimatch import ConfigError, SegmentationModel, UniMatchV2
from unimatch.models.dropout import complementary_masks

CLASSES, SIZE = 4, 40
BOXES1 = [[2, 3, 12, 20], [0, 0, 40, 5], [0, 0, 0, 0], [5, 0, 6, 40]]
BOXES2 = [[0, 0, 0, 0], [10, 10, 40, 40], [1, 2, 20, 9], [0, 0, 0, 0]]


def make_method(**options):
    torch.manual_seed(0)
    model = SegmentationModel("tiny", CLASSES, features=8, out_channels=(8, 8, 8, 8))
    method = UniMatchV2(model, **options)
    # A teacher unlike the student, with some pixels of each class, sure of some and unsure of others.
    torch.manual_seed(1)
    teacher = method.teacher.model
    teacher.load_state_dict(SegmentationModel("tiny", CLASSES, features=8, out_channels=(8, 8, 8, 8)).state_dict())
    classifier = teacher.decoder.classify[2]
    with torch.no_grad():
        logits = teacher(make_batch(4)["unlabeled"]["weak"]).transpose(0, 1).flatten(1)  # (C, N)
        mean, spread = logits.mean(1), logits.std(1) / 2
        classifier.weight.div_(spread.view(-1, 1, 1, 1))
        classifier.bias.sub_(mean).div_(spread)
    return method


def make_batch(images, validity="all", seed=0):
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
    return {
        "labeled": {"image": pictures(), "mask": mask, "index": torch.arange(images)},
        "unlabeled": {
            "weak": pictures(),
            "strong1": pictures(),
            "strong2": pictures(),
            "valid": valid,
            "box1": torch.tensor(BOXES1[:images]),
            "box2": torch.tensor(BOXES2[:images]),
            "truth": torch.full((images, SIZE, SIZE), 255),
            "index": torch.arange(images),
        },
    }


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


def slow_cutmix(boxes, tensor):
    mixed = tensor.clone()
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        for row in range(top, bottom):
            for column in range(left, right):
                mixed[i, ..., row, column] = tensor[len(tensor) - 1 - i, ..., row, column]
    return mixed


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


def slow_losses(student, teacher, batch, *, tau, loss_weight, keep_ratio, seed):
    """Section 1 of the specification, by loops over images, pixels and channels."""
    x, y = batch["labeled"]["image"], batch["labeled"]["mask"]
    unlabeled = batch["unlabeled"]
    v = unlabeled["valid"]
    q, c = slow_pseudo_labels(teacher, unlabeled["weak"])

    loss_x = slow_sum_of_cross_entropy(student(x), y, y != 255) / max(int((y != 255).sum()), 1)

    views = [slow_cutmix(unlabeled[f"box{k}"], unlabeled[f"strong{k}"]) for k in (1, 2)]
    features = student.encode(torch.cat(views))
    masks = complementary_masks(
        len(x),
        [level.shape[1] for level in features],
        generator=torch.Generator().manual_seed(seed),
        keep_ratio=keep_ratio,
    )
    dropped = [slow_drop(level, mask) for level, mask in zip(features, masks, strict=True)]
    logits = student.decode(dropped, (SIZE, SIZE))

    loss_s = []
    for k, view in ((1, logits[: len(x)]), (2, logits[len(x) :])):
        qk, ck, vk = (slow_cutmix(unlabeled[f"box{k}"], tensor) for tensor in (q, c, v))
        loss_s.append(slow_sum_of_cross_entropy(view, qk, (ck >= tau) & vk) / max(int(vk.sum()), 1))
    total = (loss_x + loss_weight * (loss_s[0] + loss_s[1]) / 2) / 2
    valid = int(v.sum())
    return {
        "total": total,
        "loss_x": loss_x,
        "loss_s": (loss_s[0] + loss_s[1]) / 2,
        "mask_ratio": torch.tensor(int(((c >= tau) & v).sum()) / valid if valid else 0.0),
    }, (q, c)


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


@pytest.mark.parametrize(
    ("images", "validity", "loss_weight", "keep_ratio"),
    [
        (1, "all", 1.0, 0.5),
        (2, "all", 1.0, 0.5),
        (3, "partly", 1.0, 0.5),
        (2, "none", 1.0, 0.5),
        (4, "partly", 3.0, 0.0),
    ],
)
def test_losses_and_gradients_equal_a_slow_version(images, validity, loss_weight, keep_ratio):
    method = make_method(loss_weight=loss_weight, keep_ratio=keep_ratio)
    batch = make_batch(images, validity)
    method.tau = threshold_between(slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[1])
    slow_student, slow_teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher)

    losses = method.losses(batch, torch.Generator().manual_seed(5))
    losses.total.backward()
    expected, (q, c) = slow_losses(
        slow_student,
        slow_teacher,
        batch,
        tau=method.tau,
        loss_weight=loss_weight,
        keep_ratio=keep_ratio,
        seed=5,
    )
    expected["total"].backward()

    assert losses.total.item() == pytest.approx(expected["total"].item(), rel=1e-5)
    assert losses.parts.keys() == {"loss_x", "loss_s", "mask_ratio"}
    for name, value in losses.parts.items():
        assert value.item() == pytest.approx(float(expected[name].detach()), rel=1e-5), name
    assert losses.pseudo.tau == method.tau
    assert torch.equal(losses.pseudo.label, q)
    torch.testing.assert_close(losses.pseudo.confidence.double(), c, atol=1e-5, rtol=1e-5)
    assert torch.equal(losses.pseudo.valid, batch["unlabeled"]["valid"])
    assert_same_gradients(method.student, slow_student)

    # The scenes are such that every part of the method matters.
    assert (expected["loss_s"].item() > 0.05) is (validity != "none")
    assert validity == "none" or 0.2 < expected["mask_ratio"].item() < 0.8
    assert len(q.unique()) == CLASSES


def test_the_batch_is_left_as_it_is():
    method, batch, untouched = make_method(tau=0.5), make_batch(3), make_batch(3)
    method.losses(batch, torch.Generator().manual_seed(0))
    for part, fields in untouched.items():
        for name, value in fields.items():
            assert torch.equal(batch[part][name], value), name


def test_truth_of_unlabelled_images_changes_nothing():
    values = []
    for truth in (255, 0):
        method, batch = make_method(tau=0.5), make_batch(3)
        batch["unlabeled"]["truth"].fill_(truth)
        values.append(method.losses(batch, torch.Generator().manual_seed(0)).total)
    assert torch.equal(*values)


def test_the_step_is_a_function_of_the_generator():
    values = [
        make_method(tau=0.0).losses(make_batch(3), torch.Generator().manual_seed(seed)).total for seed in (0, 0, 1)
    ]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_pseudo_labels_come_from_the_teacher_in_eval_mode():
    method, batch = make_method(tau=0.5), make_batch(3)
    before = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.normal_()
    method.train()
    pseudo = method.losses(batch, torch.Generator().manual_seed(0)).pseudo
    assert torch.equal(pseudo.label, slow_pseudo_labels(method.teacher, batch["unlabeled"]["weak"])[0])
    assert all(torch.equal(value, before[key]) for key, value in method.teacher.state_dict().items())


@pytest.mark.parametrize(("tau", "validity"), [(1.0, "all"), (0.5, "none"), (0.5, "all")])
def test_every_parameter_of_the_student_and_none_of_the_teacher_gets_a_gradient(tau, validity):
    # Also where no pixel is confident or valid: distributed training does not search for unused parameters.
    method = make_method(tau=tau)
    losses = method.losses(make_batch(2, validity), torch.Generator().manual_seed(0))
    losses.total.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in method.student.parameters())
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    assert not losses.pseudo.confidence.requires_grad


def test_the_defaults_are_the_published_ones():
    method = make_method()
    assert (method.tau, method.loss_weight, method.keep_ratio) == (0.95, 1.0, 0.5)
    assert (method.learning_rate, method.decoder_multiplier, method.weight_decay) == (5e-6, 40.0, 0.01)
    assert method.teacher.decay == 0.996
    assert method.uses_unlabeled


@pytest.mark.parametrize("option", [{"tau": -0.1}, {"tau": 1.1}, {"keep_ratio": -0.5}, {"keep_ratio": 1.5}])
def test_numbers_that_cannot_be_are_refused(option):
    with pytest.raises(ConfigError, match=f"method.{next(iter(option))}"):
        make_method(**option)
