"""What holds for the step of every method: precision, and no number of it is fetched from the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.slow_methods import make_batch, make_semi_supervised
from unimatch import FixMatch, SegmentationModel, Supervised, UniMatchV1, UniMatchV2

METHODS = [
    (Supervised, {}),
    (FixMatch, {}),
    (UniMatchV1, {"cutmix_partner": "reversed"}),
    (UniMatchV2, {}),
    (UniMatchV2, {"criterion": "ohem", "ohem_min_kept": 50, "pseudo_labels_from": "student"}),
    (UniMatchV2, {"freeze_batch_statistics": True, "dropout_at": "classifier"}),
]
NAMES = ["supervised", "fixmatch", "unimatch_v1", "unimatch_v2", "ohem", "one_pass"]


def take_step(method, batch, optimizer, iteration=1):
    generator = torch.Generator(batch["labeled"]["image"].device).manual_seed(0)
    losses = method.losses(batch, generator)
    optimizer.zero_grad()
    losses.total.backward()
    optimizer.step()
    method.teacher.update(method.student, iteration)
    return losses


class Fetches(TorchDispatchMode):
    """Operations whose result the host needs before it can go on: on a GPU, it waits for them."""

    NAMES = ("_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "bincount")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.__name__.split(".")[0].lstrip("_")
        if name in [each.lstrip("_") for each in self.NAMES]:
            self.found.append(name)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(("kind", "options"), METHODS, ids=NAMES)
def test_nothing_of_a_step_is_fetched_from_the_device(kind, options):
    method, batch = make_semi_supervised(kind, **options), make_batch(2, "partly")
    optimizer = method.build_optimizer()
    take_step(method, batch, optimizer, 0)
    with Fetches() as fetches:
        take_step(method, batch, optimizer)
    assert fetches.found == []
    with Fetches() as fetches:  # and a fetch would be seen
        bool(torch.ones(()) > 0)
    assert fetches.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("kind", "options"), METHODS, ids=NAMES)
def test_the_host_never_waits_for_the_gpu(kind, options):
    method = make_semi_supervised(kind, **options).cuda()
    batch = {name: {key: value.cuda() for key, value in part.items()} for name, part in make_batch(2, "partly").items()}
    optimizer = method.build_optimizer()
    take_step(method, batch, optimizer, 0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        take_step(method, batch, optimizer)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("kind", "options"), [(Supervised, {}), (FixMatch, {}), (UniMatchV2, {"channel_dropout": "none"})]
)
def test_a_step_on_the_gpu_is_that_on_the_cpu(kind, options, monkeypatch):
    # Without channel dropout, whose draws are the device's own; and in whole float32.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    totals, gradients = [], []
    for device in ("cpu", "cuda"):
        method = make_semi_supervised(kind, **options).to(device)
        batch = {name: {k: v.to(device) for k, v in part.items()} for name, part in make_batch(2, "partly").items()}
        losses = take_step(method, batch, method.build_optimizer())
        totals.append(losses.total.detach().cpu())
        gradients.append(torch.cat([parameter.grad.flatten().cpu() for parameter in method.student.parameters()]))
    # A pixel whose confidence is at the threshold may fall on the other side: one of 3,200 is 3e-4 of a loss.
    torch.testing.assert_close(totals[1], totals[0], rtol=1e-3, atol=0)
    assert (gradients[1] - gradients[0]).norm() < 1e-2 * gradients[0].norm()


@pytest.mark.parametrize(("kind", "options"), METHODS, ids=NAMES)
def test_bfloat16_keeps_weights_losses_and_teacher_in_float32(kind, options):
    method, batch = make_semi_supervised(kind, **options), make_batch(2, "partly")
    optimizer = method.build_optimizer()
    seen = []
    method.student.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        losses = take_step(method, batch, optimizer)
    assert set(seen) == {torch.bfloat16}
    assert losses.total.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in losses.parts.values())
    assert losses.pseudo is None or losses.pseudo.confidence.dtype == torch.float32
    for value in [*method.parameters(), *(p.grad for p in method.student.parameters())]:
        assert value.dtype == torch.float32


def test_the_optimiser_is_one_kernel():
    assert make_semi_supervised(UniMatchV2).build_optimizer().defaults["fused"] is True
    assert not make_semi_supervised(UniMatchV2).build_optimizer(fused=False).defaults["fused"]


@pytest.mark.parametrize("name", ["vits", "vitb_reg", "dinov3_s", "beit_b", "sam_b"])
def test_attention_is_fused(name):
    with torch.device("meta"):
        model = SegmentationModel(name, 2, weights=None)
    flags = [module.fused_attn for module in model.modules() if hasattr(module, "fused_attn")]
    assert len(flags) >= 12
    assert all(flags)
