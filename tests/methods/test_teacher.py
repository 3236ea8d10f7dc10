import copy
import gc

import numpy as np
import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn

from helpers.fits import make_method
from helpers.support import at_night
from unimatch import SegmentationModel, UniMatchV2
from unimatch.methods.teacher import PLACES, Teacher, forget_places, tensors


class Student(nn.Module):
    """Parameters, BatchNorm, and buffers that have no average."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("positions", torch.arange(6).view(2, 3))
        self.register_buffer("chosen", torch.tensor([True, False, True]))

    def forward(self, images):
        return self.norm(self.layer(images))


def make_student(seed=0):
    torch.manual_seed(seed)
    return Student()


def randomize(student, source):
    with torch.no_grad():
        for value in [*student.parameters(), *student.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=source))
            elif value.dtype == torch.bool:
                value.copy_(torch.rand(value.shape, generator=source) > 0.5)
            else:
                value.copy_(torch.randint(0, 1000, value.shape, generator=source))


def storages(module):
    return {value.untyped_storage().data_ptr() for value in [*module.parameters(), *module.buffers()]}


def test_it_starts_as_the_student_and_shares_no_storage():
    student = make_student()
    teacher = Teacher(student)
    for key, value in teacher.model.state_dict().items():
        assert torch.equal(value, student.state_dict()[key])
    assert not storages(student) & storages(teacher)

    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    randomize(student, torch.Generator().manual_seed(1))
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


def test_what_is_not_trained_is_shared_until_it_is():
    student = make_student()
    student.layer.requires_grad_(False)
    teacher = Teacher(student, decay=0.5)
    assert teacher.model.layer.weight is student.layer.weight
    assert teacher.model.norm.weight is not student.norm.weight
    twin = copy.deepcopy(nn.ModuleList([student, teacher]))  # shared with its own student, not with ours
    assert twin[1].model.layer.weight is twin[0].layer.weight is not student.layer.weight
    shared = student.layer.weight.clone()
    teacher.update(student, iteration=3)
    assert torch.equal(teacher.model.layer.weight, shared)

    student.layer.weight.requires_grad_(True)
    teacher.keep_apart()
    assert teacher.shared == {"layer.bias"}
    with torch.no_grad():
        student.layer.weight.add_(1)
    assert torch.equal(teacher.model.layer.weight, shared)
    assert not teacher.model.layer.weight.requires_grad
    teacher.update(student, iteration=3)
    torch.testing.assert_close(teacher.model.layer.weight, shared + 0.5)


@pytest.mark.parametrize("apart", [False, True])
def test_loading_keeps_weights_shared_if_they_were_the_same(apart):
    def both():
        student = make_student(seed=int(apart))
        student.layer.requires_grad_(False)
        return nn.ModuleDict({"student": student, "teacher": Teacher(student)})

    state = copy.deepcopy(both().state_dict())
    state["teacher.model.layer.weight"] = state["teacher.model.layer.weight"] + int(apart)
    pair = both()
    pair["student"].norm.weight.data += 1
    pair.load_state_dict(state)
    found = pair.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert (pair["teacher"].model.layer.weight is pair["student"].layer.weight) != apart


def test_the_first_update_copies_the_student_bit_for_bit():
    student = make_student()
    teacher = Teacher(student)
    randomize(student, torch.Generator().manual_seed(1))
    teacher.update(student, iteration=0)
    for key, value in teacher.model.state_dict().items():
        assert torch.equal(value, student.state_dict()[key]), key
    assert not storages(student) & storages(teacher)


@pytest.mark.parametrize("decay", [0.7, 0.996])  # 0.7 is reached at the fourth of ten updates, 0.996 is not
def test_ten_updates_equal_a_loop(decay):
    source = torch.Generator().manual_seed(1)
    student = make_student()
    teacher = Teacher(student, decay)
    expected = {key: value.numpy().copy() for key, value in teacher.model.state_dict().items()}
    for it in range(10):
        randomize(student, source)
        teacher.update(student, it)
        a = min(1 - 1 / (it + 1), decay)
        for key, value in student.state_dict().items():
            new = value.numpy()
            expected[key] = a * expected[key] + (1 - a) * new if new.dtype == np.float32 else new.copy()
    found = teacher.model.state_dict()
    assert {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "positions", "chosen"} <= found.keys()
    for key, value in found.items():
        assert value.dtype == student.state_dict()[key].dtype
        if value.is_floating_point():
            np.testing.assert_allclose(value.numpy(), expected[key], rtol=1e-5, atol=1e-6, err_msg=key)
        else:
            np.testing.assert_array_equal(value.numpy(), expected[key], err_msg=key)


@pytest.mark.parametrize("decay", [0.7, 0.996])
def test_equals_timms_moving_average(decay):
    student = make_student()
    # Their ramp 1 - (1 + step / gamma) ** -power is ours for gamma = power = 1. Before it takes one off their step, to
    # begin with a copy; our first iteration is 0.
    theirs = ModelEmaV3(student, decay=decay, use_warmup=True, warmup_gamma=1.0, warmup_power=1.0)
    ours = Teacher(student, decay)
    source = torch.Generator().manual_seed(1)
    for iteration in range(12):
        randomize(student, source)
        theirs.update(student, step=iteration + 1)
        ours.update(student, iteration)
        found = ours.model.state_dict()
        for key, value in theirs.module.state_dict().items():
            torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-6)


def test_an_update_leaves_the_student_as_it_is():
    student = make_student()
    teacher = Teacher(make_student(seed=1), decay=0.5)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    teacher.update(student, iteration=7)
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert student.training


def test_it_stays_in_eval_mode_whatever_is_done_around_it():
    student = make_student().train()
    parent = nn.ModuleDict({"student": student, "teacher": Teacher(student)})
    for call in (parent.eval, parent.train, parent["teacher"].train, lambda: parent["teacher"].train(True)):
        call()
        assert not any(module.training for module in parent["teacher"].modules())
    assert student.training

    statistics = parent["teacher"].model.norm.running_mean.clone()
    parent["teacher"](torch.randn(2, 3, 8, 8))
    assert torch.equal(parent["teacher"].model.norm.running_mean, statistics)


def test_predictions_do_not_depend_on_the_rest_of_the_batch():
    teacher = Teacher(make_student())
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(teacher(images)[:1], teacher(images[:1]))


def test_a_submodule_forced_into_training_is_noticed():
    teacher = Teacher(make_student())
    teacher.model.norm.train()
    with pytest.raises(RuntimeError, match="eval"):
        teacher(torch.randn(2, 3, 8, 8))


def test_it_needs_no_gradients_and_gives_none():
    student = make_student()
    teacher = Teacher(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    assert not teacher(images).requires_grad


@pytest.mark.parametrize("decay", [-0.1, 1.1])
def test_a_decay_outside_0_to_1_is_refused(decay):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Teacher(make_student(), decay)


def test_a_student_of_another_architecture_is_refused():
    teacher = Teacher(make_student())
    with pytest.raises(ValueError, match="zip"):
        teacher.update(nn.Conv2d(3, 4, 3), 0)


def test_tensors_that_are_replaced_are_followed_and_modules_after_forget():
    student = make_student()
    teacher = Teacher(student, decay=0.5)
    teacher.update(student, iteration=0)
    student.layer.weight = nn.Parameter(torch.full_like(student.layer.weight, 3))
    student.norm.running_mean = torch.full((4,), 5.0)
    for model in (student, teacher):
        model.to(torch.float64)  # which replaces buffers
    teacher.update(student, iteration=0)
    assert (teacher.model.layer.weight == 3).all()
    assert (teacher.model.norm.running_mean == 5).all()

    for model in (student, teacher.model):
        model.layer = nn.Conv2d(3, 4, 1)
        forget_places(model)
    teacher.update(student, iteration=0)
    assert torch.equal(teacher.model.layer.weight, student.layer.weight)


def test_a_training_begins_with_the_modules_that_are_there():
    method = make_method()
    for model in (method.student, method.teacher.model):
        tensors(model)
        model.decoder.classify[2] = nn.Conv2d(8, 11, 1)  # as between two trainings
    method.begin_anew()
    for model in (method.student, method.teacher.model):
        assert any(tensor is model.decoder.classify[2].weight for tensor in tensors(model))


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite0", "vits"])
def test_the_list_of_tensors_is_that_of_the_model(name):
    model = SegmentationModel(name, 3, weights=None)
    model.twice = nn.ModuleList([model.decoder, nn.BatchNorm2d(2)])  # tensors that are in two places are listed once
    model.twice[1].weight = model.twice[1].bias
    found, expected = tensors(model), [*model.parameters(), *model.buffers()]
    assert [id(tensor) for tensor in found] == [id(tensor) for tensor in expected]


def test_a_copy_and_a_model_that_is_gone_leave_nothing_behind():
    gc.collect()  # of other tests' models
    before = len(PLACES)
    student = make_student()
    pair = nn.ModuleList([student, Teacher(student, decay=0.5)])
    pair[1].update(student, iteration=3)
    twin = copy.deepcopy(pair)
    weight = student.layer.weight.clone()
    twin[0].layer.weight.data += 1
    twin[1].update(twin[0], iteration=3)
    torch.testing.assert_close(twin[1].model.layer.weight, weight + 0.5)
    assert torch.equal(pair[1].model.layer.weight, weight)
    assert len(PLACES) == before + 4
    del pair, twin, student
    gc.collect()
    assert len(PLACES) == before


def test_it_has_the_layout_of_the_student():
    student = make_student()
    teacher = Teacher(student, decay=0.5)
    before = teacher.model.layer.weight.clone()
    student.to(memory_format=torch.channels_last)
    student.layer.weight.data += 1
    teacher.update(student, iteration=3)
    assert teacher.model.layer.weight.stride() == student.layer.weight.stride() == (27, 1, 9, 3)
    torch.testing.assert_close(teacher.model.layer.weight, before + 0.5)
    assert [a.stride() for a in tensors(teacher.model)] == [value.stride() for value in tensors(student)]


@pytest.mark.parametrize("name", ["vits", at_night("efficientnet_lite0")])
def test_every_pair_of_a_model_has_equal_strides(name):
    """Also after moves, and the gradients those of their weights."""
    method = UniMatchV2(SegmentationModel(name, 3, weights=None))
    method.load_state_dict(copy.deepcopy(method.state_dict()))
    method.to(torch.float64).to(torch.float32)
    for average, value in zip(tensors(method.teacher.model), tensors(method.student), strict=True):
        assert average.stride() == value.stride()
    method.student(torch.randn(2, 3, 28, 28) if name == "vits" else torch.randn(2, 3, 64, 64)).sum().backward()
    for parameter in method.student.parameters():
        assert parameter.grad.stride() == parameter.stride()
