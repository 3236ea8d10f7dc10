import functools
import math

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from helpers.fits import (
    STEPS_PER_EPOCH,
    EachBatch,
    assert_same,
    fit,
    make_data,
    make_method,
    make_trainer,
    same,
    snapshot,
)
from helpers.support import at_night
from unimatch import ConfigError, Supervised, UniMatchV2


def test_the_teacher_moves_only_after_an_optimizer_step():
    method = make_method(ema_decay=0.4)
    look = EachBatch(
        lambda trainer, module: (trainer.global_step, snapshot(module.student), snapshot(module.teacher.model))
    )
    initial = snapshot(method.teacher.model)
    fit(method, max_steps=3, accumulate_grad_batches=2, callbacks=[look])
    assert [step for step, _, _ in look.seen] == [0, 1, 1, 2, 2, 3]
    students, teachers = [seen[1] for seen in look.seen], [seen[2] for seen in look.seen]

    assert_same(teachers[0], initial)
    assert_same(teachers[1], students[1])  # a = 0 in the first step
    assert_same(teachers[2], teachers[1])
    assert_same(teachers[4], teachers[3])
    for before, after, student in ((2, 3, 3), (4, 5, 5)):  # a = 0.4: 1 - 1 / 2 is above the decay already
        for key, value in teachers[after].items():
            new = students[student][key]
            expected = 0.4 * teachers[before][key] + 0.6 * new if value.is_floating_point() else new
            torch.testing.assert_close(value, expected, msg=key)
    assert not same(teachers[3], teachers[2])


def test_the_optimizer_holds_the_student_and_not_the_teacher():
    method = make_method()
    trainer = fit(method, max_steps=1)
    held = {id(parameter) for group in trainer.optimizers[0].param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in method.student.parameters()}
    assert not held & {id(parameter) for parameter in method.teacher.parameters()}
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


@pytest.mark.nightly
def test_the_same_seed_gives_bit_identical_weights():
    first, again, other = make_method(), make_method(), make_method(seed=1)
    for method in (first, again, other):
        fit(method, max_steps=4)
    assert_same(snapshot(first), snapshot(again))
    assert not same(snapshot(first), snapshot(other))


@pytest.mark.nightly
def test_workers_change_no_bit():
    alone, helped = make_method(), make_method()
    fit(alone, max_steps=STEPS_PER_EPOCH + 2, workers=0)
    fit(helped, max_steps=STEPS_PER_EPOCH + 2, workers=2)
    assert_same(snapshot(alone), snapshot(helped))


def test_both_methods_see_the_same_labelled_batches():
    class Labelled(lightning.Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.seen.append(batch["labeled"]["image"].clone())

    seen = []
    for kind in (UniMatchV2, Supervised):
        look = Labelled()
        fit(make_method(kind), max_steps=3, callbacks=[look])
        seen.append(torch.stack(look.seen))
    assert torch.equal(*seen)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_statistics_stay_and_everything_else_trains(frozen):
    method = make_method(freeze_batch_statistics=frozen, weight_decay=0.0)  # only gradients move a parameter
    with torch.no_grad():
        for module in method.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
    before = snapshot(method.student)

    def modes(trainer, module):
        norms = {m.training for m in module.student.modules() if isinstance(m, nn.BatchNorm2d)}
        others = {m.training for m in module.student.modules() if not isinstance(m, nn.BatchNorm2d)}
        return norms, others

    look = EachBatch(modes)
    fit(method, max_steps=4, val_check_interval=2, callbacks=[look])
    assert look.seen == [({not frozen}, {True})] * 4  # also after an evaluation
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    for key, value in method.student.state_dict().items():
        stays = frozen and key.rsplit(".", 1)[-1] in statistics
        assert torch.equal(value, before[key]) is stays, key


def test_frozen_statistics_are_trained_with():
    method, batch = make_method(Supervised, freeze_batch_statistics=True), torch.randn(4, 3, 48, 48)
    with torch.no_grad():
        together, alone = method.student(batch), method.student(batch[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_gradients_are_clipped_under_bf16_mixed(optimizer):
    """A fused optimiser may have yet to unscale them: Lightning refuses to clip then."""
    method = make_method(Supervised, optimizer=optimizer)
    before = snapshot(method.student)
    fit(method, max_steps=2, precision="bf16-mixed", gradient_clip_val=0.01)
    squares = [parameter.grad.square().sum() for parameter in method.student.parameters() if parameter.grad is not None]
    assert torch.stack(squares).sum().sqrt() == pytest.approx(0.01, rel=1e-3)
    assert not all(torch.equal(value, before[key]) for key, value in snapshot(method.student).items())
    assert make_method(Supervised, optimizer=optimizer).build_optimizer().defaults["fused"]  # without clipping


@pytest.mark.nightly
def test_a_second_training_knows_nothing_of_the_first():
    method, other = make_method(), make_method()
    fit(method, max_steps=5, val_check_interval=5)
    other.load_state_dict(method.state_dict())
    method.eval()
    for trained in (method, other):
        fit(trained, max_steps=10, val_check_interval=5)
    assert [evaluation.step for evaluation in method.evaluations] == [5, 10]
    assert method.evaluations == other.evaluations
    assert_same(snapshot(method), snapshot(other))


def test_every_step_logs_losses_mask_ratio_and_rates():
    method = make_method(learning_rate=2e-3, decoder_multiplier=5.0, loss_weight=2.0)
    look = EachBatch(lambda trainer, module: {key: value.item() for key, value in trainer.callback_metrics.items()})
    total = STEPS_PER_EPOCH + 2
    fit(method, max_steps=total, callbacks=[look])
    rate = 2e-3
    for it, logged in enumerate(look.seen):
        assert logged.keys() == {
            *(f"train/{name}" for name in ("loss", "loss_x", "loss_s", "mask_ratio")),
            *("lr/encoder", "lr/decoder"),
        }
        assert logged["train/loss"] == pytest.approx(
            (logged["train/loss_x"] + 2 * logged["train/loss_s"]) / 2, rel=1e-5
        )
        assert 0 <= logged["train/mask_ratio"] <= 1
        assert (logged["lr/encoder"], logged["lr/decoder"]) == pytest.approx((rate, 5 * rate), rel=1e-5)
        rate = 2e-3 * (1 - it / total) ** 0.9  # set after step `it`
    assert len(look.seen) == total


def test_a_subclass_may_bring_an_optimiser_whose_groups_have_no_names():
    class WithSGD(UniMatchV2):
        def configure_optimizers(self):
            return torch.optim.SGD(self.student.parameters(), lr=0.5)

    look = EachBatch(lambda trainer, module: trainer.callback_metrics["lr/0"].item())
    fit(make_method(WithSGD), max_steps=2, callbacks=[look])
    assert look.seen == [0.5, 0.5]


def test_rates_follow_optimizer_steps_not_batches():
    look = EachBatch(lambda trainer, module: trainer.callback_metrics["lr/encoder"].item())
    fit(make_method(Supervised), max_steps=4, accumulate_grad_batches=2, callbacks=[look])
    expected = [1e-3, 1e-3, 1e-3 * 0.75**0.9, 1e-3 * 0.5**0.9]
    assert look.seen == pytest.approx([rate for rate in expected for _ in range(2)], rel=1e-5)


@pytest.mark.nightly
def test_random_choices_differ_by_step_and_epoch_but_not_by_run():
    class Seeds(Supervised):
        def losses(self, batch, generator):
            self.seeds.append(generator.initial_seed())
            return super().losses(batch, generator)

    runs = []
    for seed in (0, 0, 1):
        method = make_method(Seeds, seed=seed)
        method.seeds = []
        fit(method, max_steps=STEPS_PER_EPOCH + 3)
        runs.append(method.seeds)
    assert runs[0] == runs[1]
    assert len({*runs[0], *runs[2]}) == 2 * (STEPS_PER_EPOCH + 3)


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory):
    """A run whose encoder is unlocked after six steps, with checkpoints before and after that."""
    directory = tmp_path_factory.mktemp("unlocked")
    keep = ModelCheckpoint(directory, "{step}", save_top_k=-1, save_on_train_epoch_end=False)
    look = EachBatch(
        lambda trainer, module: (
            snapshot(module.student.encoder),
            snapshot(module.teacher.model.encoder),
            {each.training for each in module.student.encoder.modules()},
        )
    )
    method = make_method(unlock_after=6)
    options = {"val_check_interval": 4, "enable_checkpointing": True, "callbacks": [keep, look]}
    return directory, method, fit(method, max_steps=12, **options), look.seen


def test_an_encoder_stands_still_until_it_is_unlocked_and_trains_from_there(unlocked):
    _, method, trainer, seen = unlocked
    first = seen[0][0]
    for student, teacher, modes in seen[:6]:
        assert_same(student, first)
        assert_same(teacher, first)
        assert modes == {False}
    assert [modes for *_, modes in seen[6:]] == [{True}] * 6
    weight = "stem.0.weight"
    for it in range(6, 12):  # the teacher follows by its own rule, from the weights that were both's
        (student, teacher, _), before = seen[it], seen[it - 1][1]
        assert not torch.equal(student[weight], seen[it - 1][0][weight])
        decay = min(1 - 1 / (it + 1), 0.9)
        torch.testing.assert_close(teacher[weight], decay * before[weight] + (1 - decay) * student[weight])
    state = trainer.optimizers[0].state
    assert {int(state[parameter]["step"]) for parameter in method.student.encoder.parameters()} == {6}
    assert {int(state[parameter]["step"]) for parameter in method.student.decoder.parameters()} == {12}
    assert {parameter.requires_grad for parameter in method.teacher.parameters()} == {False}


def test_another_fit_holds_the_encoder_still_again():
    method = make_method(unlock_after=2)
    fit(method, max_steps=3)
    before = snapshot(method.student.encoder)
    fit(method, max_steps=2)
    assert_same(snapshot(method.student.encoder), before)


def test_batch_statistics_stay_frozen_when_the_encoder_is_unlocked():
    seen = []

    class Watch(lightning.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append((pl_module.student.locked, pl_module.uses_batch_statistics))

    fit(make_method(unlock_after=2, freeze_batch_statistics=True), max_steps=3, callbacks=[Watch()])
    assert seen == [(True, False), (True, False), (False, False)]


@pytest.mark.parametrize("step", [4, at_night(8)])
def test_a_run_with_an_unlocked_encoder_resumes_to_the_same_end(unlocked, step):
    directory, uninterrupted, *_ = unlocked
    method = make_method(unlock_after=6)
    fit(method, max_steps=12, val_check_interval=4, resume=directory / f"step={step}.ckpt")
    assert_same(snapshot(method), snapshot(uninterrupted))


def test_a_run_without_a_length_is_refused():
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs or trainer\.max_steps"):
        make_trainer(max_epochs=-1, limit_val_batches=0).fit(make_method(Supervised), make_data())


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"decoder_multiplier": -1.0},
        {"weight_decay": -0.01},
        {"ohem_threshold": 7.0},
        {"ohem_min_kept": -1},
        {"seed": -1},
        {"learning_rate": "fast"},
        {"ema_decay": "slow"},
        {"layer_decay": "x"},
        {"seed": 2**32},
        {"ema_decay": 1.0},
        {"ema_decay": -0.1},
        {"ema_decay": math.nan},
    ],
)
def test_numbers_that_cannot_be_are_refused(option):
    with pytest.raises(ConfigError, match=f"^{next(iter(option))}="):
        make_method(Supervised, **option)


def test_a_run_without_a_log_trains_too():
    method = make_method()
    fit(method, max_steps=2, log_every_n_steps=0)


def test_manual_optimisation_is_refused():
    class Manual(UniMatchV2):
        automatic_optimization = False

    with pytest.raises(ConfigError, match="automatic_optimization=False"):
        fit(make_method(Manual, tau=0.1), max_steps=1)


def test_an_optimiser_a_schedule_and_a_criterion_of_ones_own():
    """Those of ours, brought from outside, train to the same bits; a criterion's sum is in another order."""
    rate = {"learning_rate": 1e-3, "decoder_multiplier": 2.0}
    own = make_method(
        optimizer=functools.partial(torch.optim.AdamW, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
        schedule=lambda step, total: (1 - max(step - 1, 0) / total) ** 0.9,
        **rate,
    )
    ours, weighted = make_method(**rate), make_method(criterion=nn.CrossEntropyLoss(ignore_index=255), **rate)
    for method in (own, ours, weighted):
        fit(method, max_steps=3)
    assert_same(snapshot(own), snapshot(ours))
    torch.testing.assert_close(list(weighted.parameters()), list(ours.parameters()), atol=1e-4, rtol=1e-3)


def test_a_criterion_of_ones_own_sees_logits_at_the_labels_size():
    seen = []

    def criterion(logits, labels):
        seen.append((tuple(logits.shape), logits.dtype, tuple(labels.shape), labels.dtype))
        return logits.mean()

    fit(make_method(criterion=criterion), max_steps=1)
    assert seen == [((2, 11, 48, 48), torch.float32, (2, 48, 48), torch.int64)]
    with pytest.raises(ConfigError, match=r"must return a scalar, .* of \(2, 48, 48\)"):
        fit(make_method(criterion=nn.CrossEntropyLoss(ignore_index=255, reduction="none")), max_steps=1)
    method = make_method(criterion=nn.CrossEntropyLoss(torch.ones(11), ignore_index=255))
    assert method.state_dict()["criterion.criterion.weight"].shape == (11,)  # moves to the device with the method


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (math.nan, "nan"),
        ("1e-3 or so", "1e-3 or"),
        at_night(math.inf, "inf"),
        at_night(-0.1, "-0.1"),
        at_night(None, "None"),
    ],
)
def test_a_schedule_that_returns_no_factor_is_refused_at_its_step(value, told):
    method = make_method(schedule=lambda step, total: value if step == 2 else 1)
    with pytest.raises(ConfigError, match=f"schedule: must return a number of at least 0; for step 2 of 5 .* {told}"):
        fit(method, max_steps=5)
    assert method.global_step == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"criterion": "dice"}, "criterion=dice: must be one of ce, ohem"),
        ({"criterion": 7}, "criterion=7"),
        (
            {"criterion": nn.CrossEntropyLoss()},
            "leaves out the label -100, but 255 .* ignore_index=255",
        ),
        ({"optimizer": "adam"}, "optimizer=adam: must be one of adamw, sgd"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))])}, "optimizer: has its parameters already"),
        ({"schedule": "linear"}, "schedule=linear: must be one of poly, cosine"),
    ],
)
def test_parts_that_cannot_be_are_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        make_method(**option)


def test_what_makes_no_optimiser_is_refused():
    with pytest.raises(ConfigError, match="makes a list"):
        make_method(optimizer=list).build_optimizer()


def test_weights_that_are_not_float32_are_refused():
    with pytest.raises(ConfigError, match="precision=bf16-true: must be one of"):
        fit(make_method(Supervised), max_steps=1, precision="bf16-true")
