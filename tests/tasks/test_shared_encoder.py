import copy

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from unimatch import ChangeDetection, ChangeModel, ConfigError, Inference, Segmentation, SegmentationModel
from unimatch.methods.teacher import Teacher
from unimatch.tasks.evaluator import Evaluator
from unimatch.tasks.shared_encoder import encoded_once, share_encoder


def pair(*, encoder="tiny", kind=SegmentationModel, **options):
    """A student, and a teacher whose decoder is another one."""
    torch.manual_seed(0)
    student = kind(encoder, num_classes=4 if kind is SegmentationModel else 2, **options).eval()
    teacher = Teacher(student).model
    with torch.no_grad():
        for parameter in teacher.decoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return [student, teacher]


def counted(models):
    """How many images each model's encoder is given, by a wrapper that is no hook."""
    given = [0 for _ in models]
    for number, model in enumerate(models):
        forward = model.encoder.forward

        def counting(images, *, number=number, forward=forward):
            given[number] += len(images)
            return forward(images)

        model.encoder.forward = counting
    return given


@pytest.mark.parametrize("encoder", ["tiny", "vits"])
def test_student_and_teacher_share_an_encoder_that_is_frozen(encoder):
    options = {} if encoder == "tiny" else {"weights": None}
    assert share_encoder(pair(encoder=encoder, freeze=True, **options))
    student, teacher = pair(encoder=encoder, unlock_after=5, **options)
    assert share_encoder([student, teacher])
    apart = [student, copy.deepcopy(student)]  # as two models of one checkpoint
    assert share_encoder(apart)
    with torch.no_grad():
        next(iter(apart[1].encoder.parameters())).add_(1e-6)
    assert not share_encoder(apart)


def test_others_share_none():
    student, teacher = pair(freeze=True)
    assert not share_encoder([student])
    assert not share_encoder([])
    student.encoder.train()
    assert not share_encoder([student, teacher])
    student.encoder.eval()
    hook = teacher.encoder.register_forward_hook(lambda *_: None)
    assert not share_encoder([student, teacher])
    hook.remove()
    assert share_encoder([student, teacher])
    divided = next(iter(student.encoder.parameters()))
    divided.device_mesh = "of FSDP"
    assert not share_encoder([student, teacher])
    del divided.device_mesh
    assert share_encoder([student, teacher])
    statistics = next(b for name, b in teacher.encoder.named_buffers() if "mean" in name).add_(1e-3)
    assert statistics is not None
    assert not share_encoder([student, teacher])
    assert not share_encoder([pair(freeze=True)[0], *pair(freeze=True, kind=ChangeModel)])
    assert not share_encoder([nn.Linear(2, 2), nn.Linear(2, 2)])


def samples(pairs=False):
    generator = torch.Generator().manual_seed(0)
    sizes = [(64, 96), (64, 96), (50, 70), (64, 96)]
    dates = (2,) if pairs else ()
    return [
        {
            "image": torch.randn(*dates, 3, *size, generator=generator),
            "label": torch.randint(0, 2 if pairs else 4, size, generator=generator),
            "index": torch.tensor(i),
        }
        for i, size in enumerate(sizes)
    ]


def evaluated(models, task, monkeypatch=None, pairs=False):
    if monkeypatch is not None:
        monkeypatch.setattr("unimatch.tasks.evaluator.share_encoder", lambda models: False)
    evaluator = Evaluator(dict(zip(("student", "teacher"), models, strict=True)), task)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    trainer.test(evaluator, DataLoader(samples(pairs), 2, collate_fn=list), verbose=False)
    return {name: counts["confusion"].tolist() for name, counts in evaluator.counts.items()}


@pytest.mark.parametrize("case", ["whole", "sliding", "flip", "change"])
def test_the_scores_are_the_same_and_each_image_is_encoded_once(case, monkeypatch):
    change = case == "change"
    inference = {
        "whole": Inference(), "change": Inference(), "flip": Inference(flip=True),
        "sliding": Inference(mode="sliding", window=32, stride=32),
    }[case]  # fmt: skip
    task = ChangeDetection(inference) if change else Segmentation(inference)
    models = pair(freeze=True, kind=ChangeModel if change else SegmentationModel)
    given = counted(models)
    once = evaluated(models, task, pairs=change)
    first = list(given)
    given[:] = [0, 0]
    twice = evaluated(models, task, monkeypatch, pairs=change)
    assert once == twice
    assert once["student"] != once["teacher"]
    assert given[0] == given[1] > 0
    if case in ("whole", "change"):
        assert first == [given[0], 0]
    assert all("encode" not in vars(model) for model in models)


class InPlace(nn.Module):
    """A decoder that changes what it is given."""

    def __init__(self, factor):
        super().__init__()
        self.layer, self.factor = nn.Conv2d(48, 4, 1), factor

    def forward(self, levels):
        return self.layer(levels[0].mul_(self.factor))


def test_a_decoder_may_change_its_features_in_place():
    torch.manual_seed(0)
    student = SegmentationModel("tiny", num_classes=4, decoder=InPlace(2.0), freeze=True).eval()
    teacher = Teacher(student).model
    teacher.decoder.factor = -3.0
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = [model(images) for model in (student, teacher)]
        with encoded_once([student, teacher]):
            found = [model(images) for model in (student, teacher, student)]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[0])


def test_other_images_in_the_same_memory_are_encoded_anew():
    student, teacher = pair(freeze=True)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad(), encoded_once([student, teacher]):
        student(images)
        images.add_(1)
        found = teacher(images)
    with torch.no_grad():
        assert torch.equal(found, teacher(images))


def test_what_encode_was_comes_back_after_an_error_too():
    student, teacher = pair(freeze=True)
    own = teacher.encode
    teacher.encode = own
    with pytest.raises(ConfigError, match="shape"), encoded_once([student, teacher]):
        student(torch.zeros(1, 5, 32, 32))
    assert "encode" not in vars(student)
    assert vars(teacher)["encode"] is own
